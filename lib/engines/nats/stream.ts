import { randomUUID } from 'node:crypto';
import type { PurgeOpts, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { newEpoch } from '../index.js';
import { SseError } from '../../errors/index.js';
import { Expiry } from '../../time/index.js';
import { deliveryOf, storedOf } from './delivery.js';
import { epochIn, EpochHistory, withEpoch } from './epoch-history.js';
import { API_ERRORS, apiErrorOf, closed } from './failure.js';
import { pause } from '../../time/index.js';
import type { NatsLink } from './link.js';
import type { StreamMessage } from './message.js';

/** What a stream holds. */
export interface StreamPlaces {
  readonly epoch: string;
  /** The lowest sequence that is held; one past the last where none is. */
  readonly first: number;
  readonly last: number;
  readonly messages: number;
  readonly bytes: number;
  /** The server that is in charge of it, in a cluster. */
  readonly leader: string | undefined;
}

/** Which messages {@link NatsStream.read} reads. */
export interface Reading {
  readonly from: number;
  /** The last one, which the stream has had. */
  readonly to: number;
  readonly limit: number;
  /** Fewer where they are large, but at least two. */
  readonly maxBytes: number;
  readonly filter?: string;
  /** Of each subject the newest one. */
  readonly newestOnly?: boolean;
  /** Without payloads. */
  readonly headersOnly?: boolean;
}

/** Which one message is asked for; with `next_by_subj`, the first of that subject from the sequence on. */
export type MessageQuery = { seq: number; next_by_subj?: string } | { last_by_subj: string };

/** How a stream is made, and what of one that is there already would be wrong. */
export interface StreamPlan {
  readonly config: Partial<StreamConfig> & { name: string };
  /** @throws SseError `options-invalid` */
  check(config: StreamConfig): void;
}

const NANOSECONDS = 1_000_000;
const ABANDONED_MS = 5_000;
const EXPIRY_SHARE = 4;
const LOOKS = 5;
const LOOK_MS = 100;
/** What JetStream refuses for good, by the option that it is about. */
const REFUSALS = new Map([
  [10_065, 'prefix'],
  [10_074, 'replicas'],
  [10_047, 'maxBytes'],
  [10_113, 'maxBytes'],
]);

export function consumerName(): string {
  return `sse-${randomUUID()}`;
}

export function nanoseconds(ms: number): number {
  return ms * NANOSECONDS;
}

/** One stream of JetStream. */
export class NatsStream {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #plan: StreamPlan;
  readonly #epochs = new EpochHistory();

  constructor(link: NatsLink, plan: StreamPlan) {
    this.#link = link;
    this.#plan = plan;
    this.name = plan.config.name;
  }

  /**
   * Makes the stream, or checks the one that is there.
   *
   * @throws SseError `options-invalid`, `log-unavailable`
   */
  async ensure(): Promise<StreamPlaces> {
    const info = (await this.#find()) ?? (await this.#make());
    this.#plan.check(info.config);
    return this.#placesOf(info);
  }

  /** @returns undefined where it is gone */
  async places(): Promise<StreamPlaces | undefined> {
    const info = await this.#find();
    return info && this.#placesOf(info);
  }

  async message(query: MessageQuery): Promise<StreamMessage | undefined> {
    try {
      const stored = await this.#link.request(({ streams }) => streams.getMessage(this.name, query));
      return stored ? storedOf(stored) : undefined;
    } catch (error) {
      if (apiErrorOf(error) === API_ERRORS.streamNotFound) {
        return undefined;
      }
      throw error;
    }
  }

  async purge(options: PurgeOpts): Promise<void> {
    await this.#link.request(({ streams }) => streams.purge(this.name, options));
  }

  /** In order; what was trimmed meanwhile is missing. */
  async read(reading: Reading): Promise<StreamMessage[]> {
    if (reading.from > reading.to) {
      return [];
    }
    // As a whole, so that nothing of it is left when the link has closed.
    return this.#link.request(async () => {
      const reader = new PageReader(this.#link, this.name, reading);
      try {
        return await reader.read();
      } finally {
        reader.close();
      }
    });
  }

  /**
   * Gives the stream another epoch, if it still has this one: what it holds is not what was told under that.
   *
   * @throws SseError `log-unavailable`
   */
  async replaceEpoch(epoch: string): Promise<void> {
    const info = await this.#find();
    if (info && epochIn(info.config.description)?.epoch === epoch) {
      await this.#name(info);
    }
  }

  async #placesOf(info: StreamInfo): Promise<StreamPlaces> {
    const { config, state, cluster } = await this.#named(info);
    const words = epochIn(config.description)!;
    this.#epochs.see(words);
    const last = state.last_seq;
    return {
      epoch: words.epoch,
      first: state.messages > 0 ? state.first_seq : last + 1,
      last,
      messages: state.messages,
      bytes: state.bytes,
      leader: cluster?.leader,
    };
  }

  /** The stream under an epoch that can stand: one that it has had before is that of an old copy. */
  async #named(info: StreamInfo): Promise<StreamInfo> {
    const epoch = epochIn(info.config.description)?.epoch;
    if (epoch === undefined) {
      return this.#name(info);
    }
    if (!this.#epochs.hasLeft(epoch)) {
      return info;
    }
    // An answer may have been on its way for longer than that of a later request; and not all processes do this at once.
    await pause(LOOK_MS * (1 + 9 * Math.random()), this.#link.signal);
    const again = (await this.#find()) ?? info;
    return epochIn(again.config.description)?.epoch === epoch ? this.#name(again) : again;
  }

  async #name({ config }: StreamInfo): Promise<StreamInfo> {
    const words = epochIn(config.description);
    const former = new Set([...(words ? [words.epoch] : []), ...this.#epochs.all, ...(words?.former ?? [])]);
    const description = withEpoch(config.description, { epoch: newEpoch(), former: [...former] });
    return this.#link.request(({ streams }) => streams.update(this.name, { description }));
  }

  /** What another process makes in the same moment: the server refuses ours before it knows the other by its name. */
  async #findMade(): Promise<StreamInfo | undefined> {
    for (let look = 1; look <= LOOKS; look += 1) {
      const info = await this.#find();
      if (info) {
        return info;
      }
      await pause(LOOK_MS, this.#link.signal);
    }
    return undefined;
  }

  async #find(): Promise<StreamInfo | undefined> {
    try {
      return await this.#link.request(({ streams }) => streams.info(this.name));
    } catch (error) {
      if (apiErrorOf(error) === API_ERRORS.streamNotFound) {
        return undefined;
      }
      throw error;
    }
  }

  async #make(): Promise<StreamInfo> {
    try {
      const words = { epoch: newEpoch(), former: this.#epochs.all };
      const config = { ...this.#plan.config, description: withEpoch('nestjs-event-stream, epoch x', words) };
      return await this.#link.request(({ streams }) => streams.add(config));
    } catch (error) {
      const code = apiErrorOf(error);
      const isTaken = code === API_ERRORS.streamNameInUse || code === API_ERRORS.subjectsOverlap;
      const info = isTaken ? await this.#findMade() : undefined;
      if (info) {
        return info;
      }
      const field = REFUSALS.get(code ?? 0);
      if (field !== undefined) {
        const { message } = error as Error;
        const what = `NATS refuses the stream "${this.name}": ${message}.`;
        throw new SseError('options-invalid', what, { field, cause: error });
      }
      throw error;
    }
  }
}

/** A consumer for one page. */
class PageReader {
  readonly #link: NatsLink;
  readonly #stream: string;
  readonly #reading: Reading;
  readonly #messages: StreamMessage[] = [];
  readonly #inbox: string;
  #subscription: { unsubscribe(): void } | undefined;
  readonly #consumer = consumerName();
  #isMade = false;
  #onEnd: (failure?: Error) => void = () => undefined;
  #deadline: Expiry | undefined;
  #isComplete = false;
  /** Whether the next message was more than the pull had asked for. */
  #isTooLarge = false;

  constructor(link: NatsLink, stream: string, reading: Reading) {
    this.#link = link;
    this.#stream = stream;
    this.#reading = reading;
    this.#inbox = link.inbox();
  }

  async read(): Promise<StreamMessage[]> {
    const { from, limit, maxBytes, filter, newestOnly, headersOnly } = this.#reading;
    const start = newestOnly
      ? { deliver_policy: 'last_per_subject' as const }
      : { deliver_policy: 'by_start_sequence' as const, opt_start_seq: Math.max(1, from) };
    this.#isMade = true;
    const { num_pending: pending } = await this.#link.request(({ consumers }) =>
      consumers.add(this.#stream, {
        name: this.#consumer,
        ...start,
        ...(filter === undefined ? {} : { filter_subject: filter }),
        ...(headersOnly ? { headers_only: true } : {}),
        ack_policy: 'none',
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: nanoseconds(ABANDONED_MS),
      }),
    );
    if (pending === 0) {
      return [];
    }
    this.#link.signal.throwIfAborted();
    this.#subscription = this.#link.connection.subscribe(this.#inbox, {
      callback: (error, message) => {
        const delivery = error ? undefined : deliveryOf(message);
        if (delivery) {
          this.#take(delivery, delivery.pending);
        } else if (error || message.headers?.code !== 100) {
          this.#isTooLarge = message?.headers?.code === 409;
          this.#onEnd(error ?? undefined);
        }
      },
    });
    await this.#pull({ batch: limit, max_bytes: maxBytes });
    const missing = Math.min(limit, 2) - this.#messages.length;
    if (this.#isTooLarge && missing > 0) {
      // The first two together are larger than that.
      await this.#pull({ batch: missing });
    }
    return this.#messages;
  }

  close(): void {
    this.#deadline?.cancel();
    if (!this.#link.connection.isClosed()) {
      this.#subscription?.unsubscribe();
    }
    if (this.#isMade) {
      // Nobody waits for the answer: left alone, the server deletes it in a while.
      this.#link.send(`$JS.API.CONSUMER.DELETE.${this.#stream}.${this.#consumer}`);
    }
  }

  #take(message: StreamMessage, pending: number): void {
    if (message.sequence <= this.#reading.to) {
      // The buffer belongs to the connection, which reads on.
      this.#messages.push({ ...message, data: message.data.slice() });
    }
    this.#deadline?.putOff();
    const { to, limit } = this.#reading;
    if (pending === 0 || message.sequence >= to || this.#messages.length >= limit) {
      this.#isComplete = true;
      this.#onEnd();
    }
  }

  async #pull(request: { batch: number; max_bytes?: number }): Promise<void> {
    if (this.#isComplete) {
      return;
    }
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${this.#consumer}`;
    await new Promise<void>((resolve, reject) => {
      const { signal } = this.#link;
      const abort = () => end(closed(true));
      const end = (failure?: Error) => {
        this.#deadline?.cancel();
        signal.removeEventListener('abort', abort);
        if (failure) {
          reject(failure);
        } else {
          resolve();
        }
      };
      this.#onEnd = end;
      signal.addEventListener('abort', abort);
      const late = () =>
        end(new SseError('log-unavailable', `NATS did not deliver from "${this.#stream}" in time.`));
      this.#deadline = new Expiry(this.#link.requestTimeoutMs, late, { readsFirst: true });
      // Where what it is to deliver was trimmed meanwhile, the server says nothing until the request expires.
      const expires = nanoseconds(Math.ceil(this.#link.requestTimeoutMs / EXPIRY_SHARE));
      const pull = JSON.stringify({ ...request, no_wait: true, expires });
      this.#link.send(subject, pull, { reply: this.#inbox });
    });
  }
}
