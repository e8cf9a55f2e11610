import { SseError } from 'nestjs-event-stream';
import type {
  Appended,
  EventLog,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  LossReason,
} from '../../../lib/log/index.js';

/**
 * A log on another machine, of which a test says when its followers hear what, when its pages come, and that it fails,
 * forgets or is replaced.
 */
export class ScriptedLog implements EventLog {
  epoch = 'one';
  /** The pages that were asked for. */
  readonly asked: { from: number; limit: number }[] = [];
  /** What every call fails with from now on. */
  failure: Error | undefined;
  /** How many records a page has at most, as where they are large. */
  pageRecords = Infinity;
  /** How many of the newest records the last who followed asked for. */
  recentAsked = 0;
  /** How many follow it. */
  followers = 0;
  #records: LogRecord[] = [];
  #last = 0;
  #headNonce = '00000000';
  #heard = 0;
  #listener: LogListener | undefined;
  #held: Promise<void> | undefined;
  #heldPages: Promise<void> | undefined;

  /** Has it take records of these topics, without a word to those who follow. */
  write(...topics: string[]): LogRecord[] {
    const written = topics.map((topic, index) => {
      const sequence = this.#last + 1 + index;
      return recordOf(sequence, topic, this.epoch);
    });
    this.#records.push(...written);
    this.#last += written.length;
    this.#headNonce = written.at(-1)?.nonce ?? this.#headNonce;
    return written;
  }

  /** Tells those who follow what they have not heard, up to a sequence. */
  tell(upTo = this.#last): void {
    const news = this.#records.filter(({ sequence }) => sequence > this.#heard && sequence <= upTo);
    this.#heard = upTo;
    void this.#listener?.onRecords(news);
  }

  /** Forgets what is below a sequence. */
  trim(first: number): void {
    this.#records = this.#records.filter(({ sequence }) => sequence >= first);
  }

  /** Loses records from within: those from one sequence to another. */
  lose(from: number, to: number): void {
    this.#records = this.#records.filter(({ sequence }) => sequence < from || sequence > to);
  }

  /** Puts another log in its place, and tells those who follow unless `silently`. */
  replace(
    epoch: string,
    topics: readonly string[],
    { silently = false, reason = 'epoch' }: { silently?: boolean; reason?: LossReason } = {},
  ): void {
    this.epoch = epoch;
    this.#records = [];
    this.#last = 0;
    this.#headNonce = '00000000';
    this.write(...topics);
    if (!silently) {
      this.#heard = this.#last;
      this.#listener?.onReset(this.#head, reason);
    }
  }

  /** The record at a sequence. */
  at(sequence: number): LogRecord {
    return this.#records.find((record) => record.sequence === sequence)!;
  }

  /** Has calls wait until the function that it returns is called. They answer of the log as it is then. */
  hold(): () => void {
    const { promise, release } = gate();
    this.#held = promise;
    return release;
  }

  /** Has pages come no sooner than the function that it returns is called, as the log was when they were asked for. */
  holdPages(): () => void {
    const { promise, release } = gate();
    this.#heldPages = promise;
    return release;
  }

  async append(): Promise<Appended> {
    throw new SseError('misuse', 'Nothing is appended to a scripted log: write() to it.');
  }

  async page(from: number, limit: number): Promise<LogPage> {
    this.asked.push({ from, limit });
    await this.#ready();
    const first = this.#records[0]?.sequence ?? this.#last + 1;
    const held = this.#records
      .filter(({ sequence }) => sequence >= from)
      .slice(0, Math.min(limit, this.pageRecords));
    const records = held.filter(({ sequence }, index) => sequence === held[0]!.sequence + index);
    const begins = held[0]?.sequence ?? first;
    const page = { epoch: this.epoch, records, first: begins > from ? begins : first, head: this.#last };
    await this.#heldPages;
    return page;
  }

  async head(): Promise<LogHead> {
    await this.#ready();
    return this.#head;
  }

  async follow(
    listener: LogListener,
    { recent = 0 }: { recent?: number } = {},
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    await this.#ready();
    this.#listener = listener;
    this.recentAsked = recent;
    this.#heard = this.#last;
    this.followers += 1;
    const stop = () => {
      this.#listener = undefined;
      this.followers -= 1;
    };
    return { head: this.#head, recent: this.#records.slice(-recent), stop };
  }

  get #head(): LogHead {
    return { epoch: this.epoch, sequence: this.#last, nonce: this.#headNonce };
  }

  async #ready(): Promise<void> {
    await this.#held;
    if (this.failure) {
      throw this.failure;
    }
  }
}

function gate(): { promise: Promise<void>; release: () => void } {
  let release!: () => void;
  const promise = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { promise, release };
}

/** A record whose nonce tells its epoch and its sequence. */
export function recordOf(sequence: number, topic: string, epoch: string, time = sequence): LogRecord {
  const nonce = `${Buffer.from(epoch).toString('hex').slice(0, 2)}${sequence.toString(16).padStart(6, '0')}`;
  return { sequence, topic, nonce, time, data: String(sequence), isJson: true };
}
