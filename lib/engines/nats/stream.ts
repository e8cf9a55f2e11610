import { randomUUID } from 'node:crypto';
import type { PurgeOpts, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { newEpoch } from '../index.js';
import { SseError } from '../../errors/index.js';
import { Expiry, pause } from '../../time/index.js';
import { deliveryOf, storedOf } from './delivery.js';
import { epochIn, EpochHistory, withEpoch } from './epoch-history.js';
import type { Exclusively } from './epoch-lease.js';
import { API_ERRORS, apiErrorOf, closed } from './failure.js';
import type { NatsLink } from './link.js';
import type { StreamMessage } from './message.js';

/** The state of a stream. */
export interface StreamPlaces {
  readonly epoch: string;
  /** The lowest held sequence; one past the last if it holds none. */
  readonly first: number;
  readonly last: number;
  readonly messages: number;
  readonly bytes: number;
  /** The leader of the stream, in a cluster. */
  readonly leader: string | undefined;
}

/** The messages that {@link NatsStream.read} reads. */
export interface Reading {
  readonly from: number;
  /** The last sequence. The stream has reached it. */
  readonly to: number;
  readonly limit: number;
  /** The most bytes, about: large messages come fewer at a time, but at least two. */
  readonly maxBytes: number;
  readonly filter?: string;
  /** Whether to read only the newest message of each subject. */
  readonly newestOnly?: boolean;
  /** Whether to read without payloads. */
  readonly headersOnly?: boolean;
}

/** A request for one message. With `next_by_subj`, it is the first of that subject from the sequence on. */
export type MessageQuery = { seq: number; next_by_subj?: string } | { last_by_subj: string };

/** How a stream is created, and how an existing one is checked. */
export interface StreamPlan {
  readonly config: Partial<StreamConfig> & { name: string };
  /** @throws SseError `options-invalid` */
  check(config: StreamConfig): void;
}

const NANOSECONDS = 1_000_000;
const ABANDONED_MS = 5_000;
const EXPIRY_SHARE = 4;
const ATTEMPTS = 5;
const RETRY_MS = 100;
/** JetStream's permanent refusals, by option. */
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
  readonly #exclusively: Exclusively;
  readonly #epochs = new EpochHistory();
  /** How often the connection had been lost when the stream was last found; undefined if it was not. */
  #foundAt: number | undefined;

  /** @param exclusively - lets one instance at a time replace the epoch; for a stream whose epoch matters */
  constructor(link: NatsLink, plan: StreamPlan, exclusively: Exclusively = (work) => work(link.signal)) {
    this.#link = link;
    this.#plan = plan;
    this.#exclusively = exclusively;
    this.name = plan.config.name;
  }

  /**
   * Creates the stream, or checks the existing one.
   *
   * @throws SseError `options-invalid`, `log-unavailable`
   */
  async ensure(): Promise<StreamPlaces> {
    const info = (await this.#find()) ?? (await this.#make());
    this.#plan.check(info.config);
    return this.#placesOf(info);
  }

  /** Reads the state; undefined if the stream does not exist. */
  async places(): Promise<StreamPlaces | undefined> {
    const info = await this.#find();
    return info && this.#placesOf(info);
  }

  async message(query: MessageQuery): Promise<StreamMessage | undefined> {
    // nats-server 2.9.10 panics when it gets a request for a message of a stream that it is still creating for another
    // instance. It answers a request for the stream itself only when the stream is complete.
    if (this.#foundAt !== this.#link.losses && !(await this.#find())) {
      return undefined;
    }
    try {
      const stored = await this.#link.request(({ streams }) => streams.getMessage(this.name, query));
      return stored ? storedOf(stored) : undefined;
    } catch (error) {
      if (apiErrorOf(error) === API_ERRORS.streamNotFound) {
        this.#foundAt = undefined;
        return undefined;
      }
      throw error;
    }
  }

  async purge(options: PurgeOpts): Promise<void> {
    await this.#link.request(({ streams }) => streams.purge(this.name, options));
  }

  /** Reads messages in order. Messages that were trimmed meanwhile are missing. */
  async read(reading: Reading): Promise<StreamMessage[]> {
    if (reading.from > reading.to) {
      return [];
    }
    // As one task, so that no request is left when the link has closed.
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
   * Gives the stream a new epoch, if it still has this one: its messages differ from those delivered under that epoch.
   *
   * @throws SseError `log-unavailable`
   */
  async replaceEpoch(epoch: string): Promise<void> {
    await this.#rename((found) => found === epoch);
  }

  async #placesOf(info: StreamInfo): Promise<StreamPlaces> {
    const { config, state, cluster } = await this.#named(info);
    const described = epochIn(config.description)!;
    this.#epochs.see(described);
    const last = state.last_seq;
    return {
      epoch: described.epoch,
      first: state.messages > 0 ? state.first_seq : last + 1,
      last,
      messages: state.messages,
      bytes: state.bytes,
      leader: cluster?.leader,
    };
  }

  /** Ensures a valid epoch. A stream with a former epoch is an old copy, and gets a new one. */
  async #named(info: StreamInfo): Promise<StreamInfo> {
    const isInvalid = (epoch: string | undefined) => epoch === undefined || this.#epochs.isFormer(epoch);
    return isInvalid(epochIn(info.config.description)?.epoch)
      ? ((await this.#rename(isInvalid)) ?? info)
      : info;
  }

  /**
   * Gives the stream a new epoch, if it still needs one: the caller's knowledge may be older than the work of another
   * instance.
   *
   * @returns the stream as it is then; undefined if it does not exist
   */
  #rename(isNeeded: (epoch: string | undefined) => boolean): Promise<StreamInfo | undefined> {
    return this.#exclusively(async (signal) => {
      const info = await this.#find();
      if (!info || !isNeeded(epochIn(info.config.description)?.epoch)) {
        return info;
      }
      signal.throwIfAborted();
      return this.#name(info);
    });
  }

  async #name({ config }: StreamInfo): Promise<StreamInfo> {
    const described = epochIn(config.description);
    const former = new Set([
      ...(described ? [described.epoch] : []),
      ...this.#epochs.all,
      ...(described?.former ?? []),
    ]);
    const description = withEpoch(config.description, { epoch: newEpoch(), former: [...former] });
    return this.#link.request(({ streams }) => streams.update(this.name, { description }));
  }

  /** Waits for a stream that another process creates at the same time: the server refuses ours meanwhile. */
  async #findMade(): Promise<StreamInfo | undefined> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const info = await this.#find();
      if (info) {
        return info;
      }
      await pause(RETRY_MS, this.#link.signal);
    }
    return undefined;
  }

  async #find(): Promise<StreamInfo | undefined> {
    const { losses } = this.#link;
    try {
      const info = await this.#link.request(({ streams }) => streams.info(this.name));
      this.#foundAt = losses;
      return info;
    } catch (error) {
      if (apiErrorOf(error) === API_ERRORS.streamNotFound) {
        this.#foundAt = undefined;
        return undefined;
      }
      throw error;
    }
  }

  async #make(): Promise<StreamInfo> {
    try {
      const described = { epoch: newEpoch(), former: this.#epochs.all };
      const config = {
        ...this.#plan.config,
        description: withEpoch('nestjs-event-stream, epoch x', described),
      };
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
  /** Whether the next message exceeded the pull's bytes. */
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
      // The first two messages together exceed the bytes.
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
      // The answer is not needed: the server deletes an unused consumer after a while.
      this.#link.send(`$JS.API.CONSUMER.DELETE.${this.#stream}.${this.#consumer}`);
    }
  }

  #take(message: StreamMessage, pending: number): void {
    if (message.sequence <= this.#reading.to) {
      // Copied, since the connection reuses the buffer.
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
      // If the messages were trimmed meanwhile, the server is silent until the request expires.
      const expires = nanoseconds(Math.ceil(this.#link.requestTimeoutMs / EXPIRY_SHARE));
      const pull = JSON.stringify({ ...request, no_wait: true, expires });
      this.#link.send(subject, pull, { reply: this.#inbox });
    });
  }
}
