import { Consumer } from './consumer.js';
import type { Delivery } from './delivery.js';
import { pause } from '../../time/index.js';
import type { NatsLink } from './link.js';

export interface Verified {
  /** The sequence of the stream after which to read. */
  readonly after: number;
  /** Whether that is where it was. */
  readonly isUnchanged: boolean;
  /** Whether the log has more than was heard. */
  readonly isBehind: boolean;
}

/** Whose log a {@link Reader} reads. */
export interface ReaderOwner {
  /**
   * Holds what was heard against the stream, and tells the listeners where it does not go on.
   *
   * @param isNewReader - whether it is about to be read by another consumer, maybe from another server's copy
   */
  verify(isNewReader: boolean): Promise<Verified>;
  /** @returns false where they do not follow on what was heard; what to wait for before there are more, if anything */
  onMessages(messages: readonly Delivery[]): false | Promise<unknown> | undefined;
  /** Why nothing is read; undefined where it is. */
  onState(trouble: string | undefined): void;
}

const VERIFY_MS = 3_000;
// From one look that finds it behind to the next.
const DEAF_MS = 1_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
const SHORT_MS = 500;

/** Reads the tail of a stream for as long as it is wanted, with one consumer after another. */
export class Reader {
  readonly #link: NatsLink;
  readonly #stream: string;
  readonly #filter: string | undefined;
  readonly #owner: ReaderOwner;
  readonly #stopped = new AbortController();
  #isDone: Promise<void> | undefined;

  constructor(link: NatsLink, stream: string, owner: ReaderOwner, filter?: string) {
    this.#link = link;
    this.#stream = stream;
    this.#owner = owner;
    this.#filter = filter;
  }

  start(): void {
    this.#isDone ??= this.#run();
  }

  /** Resolves when nothing of it is left. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#isDone;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    let breakMs = FIRST_RETRY_MS;
    for (let retryMs = FIRST_RETRY_MS; !signal.aborted;) {
      try {
        const { after } = await this.#owner.verify(true);
        if (signal.aborted) {
          return;
        }
        retryMs = FIRST_RETRY_MS;
        const begin = performance.now();
        await this.#read(after + 1);
        const isShort = performance.now() - begin < SHORT_MS;
        if (isShort) {
          // Consumers that break at once, as at messages that are no events, would keep the server busy with nothing
          // else.
          await this.#untilWorthwhile(breakMs);
        }
        breakMs = isShort ? Math.min(breakMs * 2, LAST_RETRY_MS) : FIRST_RETRY_MS;
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        this.#owner.onState(error instanceof Error ? error.message : String(error));
        await this.#untilWorthwhile(retryMs);
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
      }
    }
  }

  /** Resolves when the consumer has broken. */
  async #read(from: number): Promise<void> {
    const { signal } = this.#stopped;
    const consumer: Consumer = new Consumer(this.#link, this.#stream, (messages) => {
      const busy = this.#owner.onMessages(messages);
      if (busy === false) {
        consumer.close();
        return undefined;
      }
      return busy;
    });
    const close = () => consumer.close();
    signal.addEventListener('abort', close);
    try {
      await consumer.open(from, this.#filter);
      if (signal.aborted) {
        return;
      }
      this.#owner.onState(undefined);
      await this.#watch(consumer);
    } finally {
      signal.removeEventListener('abort', close);
      consumer.close();
    }
  }

  /** A consumer that delivers does not say whether the stream is still the one that was read before it. */
  async #watch(consumer: Consumer): Promise<void> {
    /** Where it was behind already. */
    let behindAt: number | undefined;
    for (;;) {
      const waiting = new AbortController();
      const isBroken = await Promise.race([
        consumer.broken.then(() => true),
        pause(behindAt === undefined ? VERIFY_MS : DEAF_MS, waiting.signal).then(() => false),
      ]);
      waiting.abort();
      const verified = isBroken ? undefined : await this.#owner.verify(false);
      if (!verified?.isUnchanged) {
        return;
      }
      if (verified.isBehind && behindAt === verified.after) {
        throw new Error('nothing is delivered of what the stream has');
      }
      behindAt = verified.isBehind && !consumer.isBusy ? verified.after : undefined;
      this.#owner.onState(undefined);
    }
  }

  /** Waits for a time, or for a connection that comes back. */
  async #untilWorthwhile(ms: number): Promise<void> {
    if (this.#stopped.signal.aborted) {
      return;
    }
    const waiting = new AbortController();
    const end = () => waiting.abort();
    const stopHearing = this.#link.onConnection((isConnected) => {
      if (isConnected) {
        end();
      }
    });
    this.#stopped.signal.addEventListener('abort', end);
    await pause(ms, waiting.signal);
    this.#stopped.signal.removeEventListener('abort', end);
    stopHearing();
  }
}
