import type { TypedPattern } from '../wire/topic-event.js';
import { Feed } from './feed.js';
import type { FeedLink } from './feed.js';
import type { ClientFollowOptions } from './feed.types.js';
import { RunAnswer } from './run-answer.js';
import type { RunOptions, RunTarget } from './run-answer.js';
import { clientSettings } from './settings.js';
import type { ClientSettings, SseClientOptions } from './settings.js';
import type { SharingReason, SharingStatus } from './sharing/messages.js';
import { StreamLoop } from './stream-loop.js';
import type { StreamHost } from './stream-loop.js';

/** What the code that shares gives a client. */
type Tabs = ReturnType<(typeof import('./sharing/index.js'))['shareTabs']>;

/** Topics as `client.follow` takes them, for the types of their events: what `defineTopic` gives, one or several. */
export type ClientTopics<Events extends object> = TypedPattern<Events> | readonly TypedPattern<Events>[];

/**
 * A client of event streams for pages, by `fetch`: it sends headers, notices a dead connection by its heartbeats, and
 * comes back by itself until the server ends the stream for good.
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
  readonly #links = new Set<FeedLink>();
  readonly #tabs: Promise<Tabs | undefined> | undefined;
  #sharing = notShared('off');
  #isSignedOut = false;

  /** @throws SseClientError `options-invalid` */
  constructor(options: SseClientOptions = {}) {
    this.#settings = clientSettings(options);
    this.#tabs = options.shareTabs === undefined ? undefined : this.#share(options.shareTabs);
  }

  /** Whether this client shares connections with other tabs, and if not, why. */
  get sharing(): SharingStatus {
    return this.#sharing;
  }

  /**
   * Ends the feeds of this client, and with `shareTabs` those of all tabs of the same name and identity: theirs with
   * the error `signed-out`. Call it as the user signs out; for the next user make another client.
   */
  signOut(): void {
    this.#isSignedOut = true;
    this.#links.forEach((link) => link.close());
    void this.#tabs?.then((tabs) => tabs?.signOut());
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
    return new Feed<Events, State>(this.#settings, url, [topics ?? []].flat(), options, (host) =>
      this.#connect(host),
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

  async #connect(host: StreamHost): Promise<FeedLink> {
    const tabs = await this.#tabs;
    const link = tabs ? tabs.connect(host) : new StreamLoop(this.#settings, host);
    this.#links.add(link);
    void link.ended.then(() => this.#links.delete(link));
    if (this.#isSignedOut) {
      link.close();
    }
    return link;
  }

  /** Pages that do not share do not load the code for it. */
  async #share(option: NonNullable<SseClientOptions['shareTabs']>): Promise<Tabs | undefined> {
    this.#sharing = notShared('starting');
    try {
      const { shareTabs } = await import('./sharing/index.js');
      return shareTabs(this.#settings, option, (status) => {
        this.#sharing = status;
      });
    } catch {
      this.#sharing = notShared('not-loaded');
      return undefined;
    }
  }
}

function notShared(reason: SharingReason): SharingStatus {
  return { isShared: false, reason, leads: 0 };
}
