import { Consumer } from './consumer.js';
import type { Delivery } from './delivery.js';
import { pause } from '../../time/index.js';
import type { NatsLink } from './link.js';

export interface Verified {
  /** The sequence of the stream after which to read. */
  readonly after: number;
  /** Whether the place is unchanged. */
  readonly isUnchanged: boolean;
  /** Whether the log has records that were not received. */
  readonly isBehind: boolean;
}

/** The log that a {@link Reader} reads. */
export interface ReaderOwner {
  /**
   * Compares the received events with the stream. Resets the listeners if the stream does not go on from them.
   *
   * @param isNewReader - whether another consumer is about to read, maybe from another server's copy
   */
  verify(isNewReader: boolean): Promise<Verified>;
  /** Receives messages. @returns false if they do not follow the last one; a promise if no more should come yet */
  onMessages(messages: readonly Delivery[]): false | Promise<unknown> | undefined;
  /** Reports why the log is not read; undefined if it is. */
  onState(trouble: string | undefined): void;
}

const VERIFY_MS = 3_000;
// The time between two checks, after a check has found the reader behind.
const STALLED_MS = 1_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
const SHORT_MS = 500;

/** Reads the tail of a stream until it is stopped, with one consumer after another. */
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

  /** Resolves when it has stopped. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#isDone;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    let breakMs = FIRST_RETRY_MS;
    for (let retryMs = FIRST_RETRY_MS; !signal.aborted;) {
      try {
        const { losses } = this.#link;
        const { after } = await this.#owner.verify(true);
        if (signal.aborted) {
          return;
        }
        if (losses !== this.#link.losses) {
          // Its answers may come from two servers, or from before and after a loss: together they tell nothing.
          continue;
        }
        retryMs = FIRST_RETRY_MS;
        const begin = performance.now();
        await this.#read(after + 1);
        const isShort = performance.now() - begin < SHORT_MS;
        if (isShort) {
          // Consumers may break at once, as at messages that are no events. The pause spares the server.
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

  /** Checks regularly whether the stream is still the same one: the consumer's deliveries do not show it. */
  async #watch(consumer: Consumer): Promise<void> {
    /** The place at which it was found behind. */
    let behindAt: number | undefined;
    for (;;) {
      const waiting = new AbortController();
      const isBroken = await Promise.race([
        consumer.broken.then(() => true),
        pause(behindAt === undefined ? VERIFY_MS : STALLED_MS, waiting.signal).then(() => false),
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

  /** Waits for a time, or until the connection comes back. */
  async #untilWorthwhile(ms: number): Promise<void> {
    if (this.#stopped.signal.aborted) {
      return;
    }
    const waiting = new AbortController();
    const end = () => waiting.abort();
    const stopListening = this.#link.onConnection((isConnected) => {
      if (isConnected) {
        end();
      }
    });
    this.#stopped.signal.addEventListener('abort', end);
    await pause(ms, waiting.signal);
    this.#stopped.signal.removeEventListener('abort', end);
    stopListening();
  }
}
