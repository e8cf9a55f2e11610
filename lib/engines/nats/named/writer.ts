import { SseError } from '../../../errors/index.js';
import { pause } from '../../../time/index.js';
import type { Appended, Lease, LogRecord } from '../../../log/index.js';
import { leaseLost } from '../failure.js';
import type { Draft } from '../message.js';
import type { NamedState, StoredState } from './state.js';
import { notPublished } from '../nats.event-log.js';
import { Refusal } from '../appends.js';

/** The log that a {@link NamedWriter} writes to. */
export interface WrittenLog {
  /** The last known state. */
  readonly state: StoredState;
  /** Writes a message. @returns undefined if the state has changed */
  put(state: NamedState, drafts: readonly Draft[], since: number): Promise<StoredState | undefined>;
  /** Reads the state. */
  refresh(): Promise<StoredState>;
  /** Reads the record at a sequence, if the log holds it. */
  recordAt(sequence: number): Promise<LogRecord | undefined>;
  onWritten(): void;
}

/** A pending append. */
interface Append {
  readonly drafts: readonly Draft[];
  readonly lease: Lease | undefined;
  readonly since: number;
  /** The records that the log has already. */
  readonly stored: LogRecord[];
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: SseError) => void;
}

/** The part of an append that fits in one message. */
interface Part {
  readonly append: Append;
  readonly count: number;
}

const MESSAGE_SHARE = 0.9;
const RETRY_MS = 50;

/** Writes to a named log, one message after the other. Each message has as many pending events as fit. */
export class NamedWriter {
  readonly #log: WrittenLog;
  readonly #timeoutMs: number;
  readonly #maxPayload: () => number;
  #queue: Append[] = [];
  #writing: readonly Part[] = [];
  #isBusy = false;

  constructor(log: WrittenLog, timeoutMs: number, maxPayload: () => number) {
    this.#log = log;
    this.#timeoutMs = timeoutMs;
    this.#maxPayload = maxPayload;
  }

  append(drafts: readonly Draft[], lease: Lease | undefined): Promise<Appended> {
    return new Promise<Appended>((resolve, reject) => {
      this.#queue.push({ drafts, lease, since: performance.now(), stored: [], resolve, reject });
      void this.#write();
    });
  }

  /** Rejects the pending appends, except for the message that is being written: it has its own outcome. */
  refuse(error: SseError): void {
    const underWay = this.#writing.map(({ append }) => append);
    for (const append of this.#queue) {
      if (!underWay.includes(append)) {
        append.reject(error);
      }
    }
    this.#queue = underWay;
  }

  refuseLease(lease: Lease | undefined): void {
    if (lease && (lease.signal.aborted || lease.token < this.#log.state.fence)) {
      throw leaseLost();
    }
  }

  async #write(): Promise<void> {
    if (this.#isBusy) {
      return;
    }
    this.#isBusy = true;
    while (this.#queue.length > 0) {
      await this.#writeNext(this.#queue[0]!);
      this.#writing = [];
    }
    this.#isBusy = false;
  }

  async #writeNext({ lease, since }: Append): Promise<void> {
    const { drafts, parts } = this.#nextMessage();
    const { state } = this.#log;
    this.#writing = parts;
    let mayBeThere = false;
    try {
      this.refuseLease(lease);
      this.#refuseLate(since);
      const last = drafts.at(-1)!;
      const next = { ...state, sequence: state.sequence + drafts.length, nonce: last.nonce };
      mayBeThere = !(await this.#log.put(next, drafts, since));
      if (mayBeThere && !(await this.#isThere(drafts[0]!, state))) {
        return;
      }
    } catch (error) {
      // The events of a message are stored together or not at all.
      for (const { append } of parts) {
        this.#remove(append);
        append.reject(notPublished(error, isSureOf(error, mayBeThere) && append.stored.length === 0));
      }
      return;
    }
    this.#number(parts, state);
    this.#log.onWritten();
  }

  /**
   * Returns whether the newest message is the message itself: an attempt was stored whose answer was lost, and the new
   * leader does not know its id.
   */
  async #isThere({ nonce }: Draft, { sequence }: StoredState): Promise<boolean> {
    const before = this.#log.state.streamSequence;
    const { sequence: head, streamSequence } = await this.#log.refresh();
    if (streamSequence <= before) {
      // No newer message: the stream has gone back, or a server does not have all messages yet.
      await pause(RETRY_MS);
    }
    return head > sequence && (await this.#log.recordAt(sequence + 1))?.nonce === nonce;
  }

  #number(parts: readonly Part[], { epoch, sequence }: StoredState): void {
    let last = sequence;
    for (const { append, count } of parts) {
      const from = append.stored.length;
      for (const draft of append.drafts.slice(from, from + count)) {
        append.stored.push({ ...draft, sequence: (last += 1) });
      }
      if (append.stored.length === append.drafts.length) {
        this.#remove(append);
        append.resolve({ epoch, records: append.stored });
      }
    }
  }

  #remove(append: Append): void {
    this.#queue = this.#queue.filter((each) => each !== append);
  }

  #refuseLate(since: number): void {
    if (performance.now() - since >= this.#timeoutMs) {
      const what = `The event could not be appended within publishTimeoutMs (${this.#timeoutMs}).`;
      throw new SseError('publish-failed', what, { isOutcomeKnown: true });
    }
  }

  /**
   * Takes pending events up to the size of a message, at least one. All are of one lease: if it is lost, the appends of
   * others are not rejected with it.
   */
  #nextMessage(): { drafts: Draft[]; parts: Part[] } {
    const most = this.#maxPayload() * MESSAGE_SHARE;
    const [{ lease }] = this.#queue as [Append];
    const drafts: Draft[] = [];
    const parts: Part[] = [];
    let bytes = 0;
    for (const append of this.#queue) {
      if (append.lease !== lease) {
        break;
      }
      const left = append.drafts.slice(append.stored.length);
      let count = 0;
      for (const draft of left) {
        bytes += bytesOf(draft);
        if (drafts.length > 0 && bytes > most) {
          break;
        }
        drafts.push(draft);
        count += 1;
      }
      parts.push({ append, count });
      if (count < left.length) {
        break;
      }
    }
    return { drafts, parts: parts.filter(({ count }) => count > 0) };
  }
}

function bytesOf({ data, topic, type = '' }: Draft): number {
  // Three bytes for each escaped character, and the rest of the line.
  return Buffer.byteLength(data) + 3 * Buffer.byteLength(topic + type) + 50;
}

/**
 * Returns whether a message was certainly not stored. An error before publishing means so.
 *
 * @param mayBeThere - whether another message had its place, which may be the message itself
 */
function isSureOf(error: unknown, mayBeThere: boolean): boolean {
  const isOfPublish =
    error instanceof Refusal || (error instanceof SseError && error.code !== 'log-unavailable');
  return isOfPublish ? error.isOutcomeKnown === true : !mayBeThere;
}
