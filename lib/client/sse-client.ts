import type { TypedPattern } from '../wire/topic-event.js';
import { Feed } from './feed.js';
import type { ClientFollowOptions } from './feed.types.js';
import { RunAnswer } from './run-answer.js';
import type { RunOptions, RunTarget } from './run-answer.js';
import { clientSettings } from './settings.js';
import type { ClientSettings, SseClientOptions } from './settings.js';
import { StreamLoop } from './stream-loop.js';

/** Topics as `client.follow` takes them, for the types of their events: what `defineTopic` gives, one or several. */
export type ClientTopics<Events extends object> = TypedPattern<Events> | readonly TypedPattern<Events>[];

/**
 * A client of event streams for pages, by `fetch`: it sends headers, hears heartbeats, and comes back by itself until
 * the server ends the stream for good.
 *
 * @example
 * ```ts
 * const client = new SseClient({ headers: async () => ({ authorization: `Bearer ${await token()}` }) });
 * const feed = client.follow('/orders', orders, { state: readOrders, onState: showOrders });
 * feed.on('created', (order) => addOrder(order));
 * ```
 */
export class SseClient {
  readonly #settings: ClientSettings;

  /** @throws SseClientError `options-invalid` */
  constructor(options: SseClientOptions = {}) {
    this.#settings = clientSettings(options);
  }

  /**
   * Follows the topics behind a URL.
   *
   * @param topics - what `defineTopic` gives: it types the events
   * @throws SseClientError `options-invalid` for what is no URL
   */
  follow<Events extends object = Record<string, unknown>, State = unknown>(
    url: string,
    topics?: ClientTopics<Events>,
    options: ClientFollowOptions<State, Events> = {},
  ): Feed<Events, State> {
    return new Feed<Events, State>(
      this.#settings,
      url,
      [topics ?? []].flat(),
      options,
      (host) => new StreamLoop(this.#settings, host),
    );
  }

  /**
   * Starts a run, or attaches to one, and reads its answer to the end.
   *
   * @throws SseClientError `options-invalid` for what is no URL
   */
  run<Item = unknown>(target: RunTarget, options: RunOptions = {}): RunAnswer<Item> {
    return new RunAnswer<Item>(this.#settings, target, options);
  }
}
