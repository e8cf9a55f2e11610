import type { LogHead, LogListener, LogRecord, LossReason } from '../log/index.js';

/** The listeners of one log of an engine. The engine reads the log once for all of them. */
export class LogListeners {
  readonly #all = new Set<Listening>();

  get size(): number {
    return this.#all.size;
  }

  /** Adds a listener. Its records are held until {@link Listening.begin}. */
  add(listener: LogListener): Listening {
    const listening = new Listening(listener, () => void this.#all.delete(listening));
    this.#all.add(listening);
    return listening;
  }

  /**
   * Passes records to all listeners. A listener does not receive a record twice.
   *
   * @param records - in order and without a gap
   * @returns a promise if a listener does not keep up; it resolves when all can take more
   * @throws the error of the first listener that threw, after all have been called
   */
  notify(records: readonly LogRecord[]): Promise<unknown> | undefined {
    let busy: Promise<void>[] | undefined;
    const failures: unknown[] = [];
    for (const listening of this.#all) {
      try {
        const one = listening.notify(records);
        if (one) {
          (busy ??= []).push(one);
        }
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw failures[0];
    }
    return busy && Promise.all(busy);
  }

  reset(head: LogHead, reason: LossReason): void {
    for (const listening of this.#all) {
      listening.reset(head, reason);
    }
  }

  /** Removes all listeners, without a call. */
  clear(): void {
    for (const listening of this.#all) {
      listening.stop();
    }
  }
}

/** One listener, and the last sequence that it has received. */
export class Listening {
  readonly #listener: LogListener;
  readonly #leave: () => void;
  #received = 0;
  #hasBegun = false;
  /** Records that are held until the turn after the listener begins; undefined from then on. */
  #held: (() => void)[] | undefined = [];
  #wasReset = false;
  #isStopped = false;

  constructor(listener: LogListener, leave: () => void) {
    this.#listener = listener;
    this.#leave = leave;
  }

  /** Whether the log was replaced before the listener began: then its head does not go on. */
  get wasReset(): boolean {
    return this.#wasReset;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Starts to pass the records after a sequence. The first call comes after the caller's `await follow()` resumes. */
  begin(after: number): void {
    this.#received = after;
    this.#hasBegun = true;
    setImmediate(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const call of held) {
        call();
      }
    });
  }

  notify(records: readonly LogRecord[]): Promise<void> | undefined {
    if (this.#held) {
      this.#held.push(() => void this.#receive(records));
      return undefined;
    }
    return this.#receive(records);
  }

  reset(head: LogHead, reason: LossReason): void {
    if (!this.#hasBegun) {
      this.#wasReset = true;
      return;
    }
    const notify = () => {
      if (!this.#isStopped) {
        this.#received = head.sequence;
        this.#listener.onReset(head, reason);
      }
    };
    if (this.#held) {
      this.#held.push(notify);
    } else {
      notify();
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#leave();
  }

  #receive(records: readonly LogRecord[]): Promise<void> | undefined {
    const first = records[0];
    if (!first || this.#isStopped) {
      return undefined;
    }
    const known = Math.max(0, this.#received - first.sequence + 1);
    if (known >= records.length) {
      return undefined;
    }
    this.#received = records.at(-1)!.sequence;
    return this.#listener.onRecords(known > 0 ? records.slice(known) : records) ?? undefined;
  }
}
