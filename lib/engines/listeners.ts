import type { LogHead, LogListener, LogRecord, LossReason } from '../log/index.js';

/** Those who follow one log of an engine, which reads it once for all of them. */
export class LogListeners {
  readonly #all = new Set<Listening>();

  get size(): number {
    return this.#all.size;
  }

  /** Adds one that hears nothing yet: what comes is held for it until {@link Listening.begin}. */
  add(listener: LogListener): Listening {
    const listening = new Listening(listener, () => void this.#all.delete(listening));
    this.#all.add(listening);
    return listening;
  }

  /**
   * @param records - in order, each one past the one before it; those that a listener has heard of are not told again
   * @returns what resolves when all of them can be told more; undefined where they can be at once
   * @throws what the first of them has thrown, when all have been told
   */
  tell(records: readonly LogRecord[]): Promise<unknown> | undefined {
    let busy: Promise<void>[] | undefined;
    const failures: unknown[] = [];
    for (const listening of this.#all) {
      try {
        const one = listening.tell(records);
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

  /** Ends all of them without a word. */
  clear(): void {
    for (const listening of this.#all) {
      listening.stop();
    }
  }
}

/** One listener, and how far it has heard. */
export class Listening {
  readonly #listener: LogListener;
  readonly #leave: () => void;
  #heard = 0;
  #hasBegun = false;
  /** What is to be told from the turn on that follows the one in which it begins; undefined from there on. */
  #held: (() => void)[] | undefined = [];
  #wasReset = false;
  #isStopped = false;

  constructor(listener: LogListener, leave: () => void) {
    this.#listener = listener;
    this.#leave = leave;
  }

  /** Whether the log was replaced before this one began: what it was about to begin with does not go on. */
  get wasReset(): boolean {
    return this.#wasReset;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Tells all that comes after a sequence, and nothing before whoever awaits the call that began it has gone on. */
  begin(after: number): void {
    this.#heard = after;
    this.#hasBegun = true;
    setImmediate(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const tell of held) {
        tell();
      }
    });
  }

  tell(records: readonly LogRecord[]): Promise<void> | undefined {
    if (this.#held) {
      this.#held.push(() => void this.#hear(records));
      return undefined;
    }
    return this.#hear(records);
  }

  reset(head: LogHead, reason: LossReason): void {
    if (!this.#hasBegun) {
      this.#wasReset = true;
      return;
    }
    const tell = () => {
      if (!this.#isStopped) {
        this.#heard = head.sequence;
        this.#listener.onReset(head, reason);
      }
    };
    if (this.#held) {
      this.#held.push(tell);
    } else {
      tell();
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#leave();
  }

  #hear(records: readonly LogRecord[]): Promise<void> | undefined {
    const first = records[0];
    if (!first || this.#isStopped) {
      return undefined;
    }
    const known = Math.max(0, this.#heard - first.sequence + 1);
    if (known >= records.length) {
      return undefined;
    }
    this.#heard = records.at(-1)!.sequence;
    return this.#listener.onRecords(known > 0 ? records.slice(known) : records) ?? undefined;
  }
}
