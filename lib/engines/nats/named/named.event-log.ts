import { SseError } from '../../../errors/index.js';
import { Expiry, pause } from '../../../time/index.js';
import { newEpoch } from '../../index.js';
import { NO_NONCE } from '../../../wire/index.js';
import type {
  Appended,
  Lease,
  LogPage,
  LogRecord,
  LossReason,
  NamedLog,
  NewRecord,
} from '../../../log/index.js';
import type { Delivery } from '../delivery.js';
import { closed, isWrongLastSequence, unavailable } from '../failure.js';
import { FollowedLog } from '../followed-log.js';
import type { Newest, Place } from '../followed-log.js';
import { bodyOf, draftOf, recordsOf } from '../message.js';
import type { Draft } from '../message.js';
import { isOutcomeKnown, MAX_BATCH, notPublished, PAGE_BYTES } from '../nats.event-log.js';
import type { NatsContext } from '../nats.event-log.js';
import { stateHeader, stateOf } from './state.js';
import type { NamedState, StoredState } from './state.js';
import { NamedWriter } from './writer.js';
import type { WrittenLog } from './writer.js';
import type { NoticedLog, NoticeListener, Notices } from '../notices.js';
import { Refusal } from '../appends.js';
import type { NatsStream } from '../stream.js';

/** The store, as a named log sees it. */
export interface NamedContext extends NatsContext {
  readonly stream: NatsStream;
  readonly notices: Notices;
  /** Called when the log has been unused for its lifetime, as far as this process knows. */
  onQuiet(log: NamedEventLog): void;
  onEnded(log: NamedEventLog): void;
  /** Deletes the messages of a log before a sequence of the stream. A failure is reported. */
  purge(subject: string, before: number): void;
}

/** The place of a record in the stream. */
interface Checkpoint {
  readonly sequence: number;
  readonly streamSequence: number;
}

// Other processes check at the same time. The one with the best estimate of the server's clock comes first.
const QUIET_SPARE_MS = 250;
const PASSED_OVER_AT_ONCE = 100;
const RECHECK_MS = 500;
// A log is trimmed at checkpoints, maxEvents / TRIM_PARTS apart. It may exceed maxEvents by that and one message.
const TRIM_PARTS = 8;

/**
 * A named log: one subject of a stream that all named logs share. Its sequences are not the stream's. A message holds
 * the events of one or more appends, and the state of the log after them. The server stores it only after the message
 * that its writer knew, so a log has one order and a fence that no writer passes.
 */
export class NamedEventLog extends FollowedLog implements WrittenLog, NamedLog {
  readonly name: string;
  readonly #context: NamedContext;
  readonly #subject: string;
  #expiry: Expiry;
  readonly #writer: NamedWriter;
  /** The first records of messages, in order: they locate pages, and the log is trimmed there. */
  #checkpoints: Checkpoint[] = [];
  readonly #noticeListeners = new Set<NoticeListener>();
  #state: StoredState;
  #ended: SseError | undefined;

  constructor(context: NamedContext, name: string, subject: string, state: StoredState) {
    super(context.link, { stream: context.stream.name, filter: subject });
    this.name = name;
    this.#context = context;
    this.#subject = subject;
    this.#state = state;
    this.#expiry = new Expiry(state.ttlMs + QUIET_SPARE_MS, () => context.onQuiet(this));
    const { link, settings } = context;
    this.#writer = new NamedWriter(this, settings.publishTimeoutMs, () => link.maxPayload);
  }

  get state(): StoredState {
    return this.#state;
  }

  /** Checks again after a time whether any instance still uses the log. */
  checkAgainIn(ms: number): void {
    this.#expiry.cancel();
    if (!this.#ended) {
      this.#expiry = new Expiry(ms + QUIET_SPARE_MS, () => this.#context.onQuiet(this));
    }
  }

  /** Takes over a newer state. Ends the log if the state is another log's. */
  learn(state: StoredState): void {
    if (this.#isEndedBy(state)) {
      this.expire(state.epoch);
    } else if (state.streamSequence > this.#state.streamSequence) {
      this.#state = state;
      this.#expiry.putOff(state.ttlMs + QUIET_SPARE_MS);
    }
  }

  /** Ends the log and resets its listeners. */
  expire(nextEpoch = newEpoch()): void {
    if (this.#ended) {
      return;
    }
    this.#end(new SseError('closed', 'The log is closed: it has expired.', { isOutcomeKnown: true }));
    this.listeners.reset({ epoch: nextEpoch, sequence: 0, nonce: NO_NONCE }, 'epoch');
    // Listeners that began in this turn are reset in the next.
    setImmediate(() => void this.stopFollowing());
    this.#context.onEnded(this);
  }

  async close(): Promise<void> {
    this.#end(closed(true));
    await this.stopFollowing();
  }

  async append(records: readonly NewRecord[], { lease }: { lease?: Lease } = {}): Promise<Appended> {
    this.refuse();
    const { nonces } = this.#context;
    const time = Date.now();
    const drafts = records.map((record) => draftOf(record, nonces.next(), time));
    if (drafts.length === 0) {
      this.#writer.refuseLease(lease);
      return { epoch: this.#state.epoch, records: [] };
    }
    return this.#writer.append(drafts, lease);
  }

  async page(from: number, limit: number): Promise<LogPage> {
    this.refuse();
    try {
      await this.refresh();
      return await this.pageOfKnown(from, limit);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async notify(key: string, notice: NewRecord): Promise<void> {
    this.refuse();
    try {
      await this.#context.notices.publish(this.#noticed, key, notice);
    } catch (error) {
      throw notPublished(error, isOutcomeKnown(error));
    }
  }

  async onNotice(listener: (notice: NewRecord) => void): Promise<() => void> {
    this.refuse();
    const listening = this.#context.notices.listen(this.#noticed, listener);
    this.#noticeListeners.add(listening);
    const stop = () => {
      this.#noticeListeners.delete(listening);
      listening.stop();
    };
    try {
      await listening.start();
      this.refuse();
      return stop;
    } catch (error) {
      stop();
      throw unavailable(error);
    }
  }

  async lastNotice(key: string): Promise<NewRecord | undefined> {
    this.refuse();
    try {
      return await this.#context.notices.last(this.#noticed, key);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Reads a page of the log by its last known state. */
  async pageOfKnown(from: number, limit: number): Promise<LogPage> {
    return this.#read(this.#state, from, Math.min(limit, MAX_BATCH), PAGE_BYTES);
  }

  onState(trouble: string | undefined): void {
    // After its end, a failed read is no problem.
    if (trouble === undefined || !this.#ended) {
      this.#context.health.report('reading', trouble, this.name);
    }
  }

  /**
   * Writes a message after the last one.
   *
   * @returns undefined if another message came first
   * @throws SseError; Refusal
   */
  async put(state: NamedState, drafts: readonly Draft[], since: number): Promise<StoredState | undefined> {
    const stored = await putState(this.#context, this.#subject, {
      state,
      body: drafts.length > 0 ? bodyOf(drafts) : new Uint8Array(),
      expected: this.#state.streamSequence,
      since,
    });
    if (!stored) {
      return undefined;
    }
    if (drafts.length > 0) {
      this.#mark({ sequence: state.sequence - drafts.length + 1, streamSequence: stored.streamSequence });
    }
    this.learn(stored);
    return stored;
  }

  /**
   * Reads the state from the newest message. Ends the log if the stream has gone back, as to a copy: what this process
   * knows of it is gone.
   *
   * @throws SseError `closed` if it has ended
   */
  async refresh(): Promise<StoredState> {
    const known = this.#state;
    let { state } = await readState(this.#context, this.#subject);
    if (isBehind(state, known)) {
      // A server that was just elected may not have all messages yet.
      await pause(RECHECK_MS, this.#context.link.signal);
      ({ state } = await readState(this.#context, this.#subject));
      if (isBehind(state, known)) {
        this.expire();
      }
    }
    this.#learnOwn(state);
    return state;
  }

  /** Ends the log if the stream has gone back behind what this process knows. */
  async endIfGone(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      if (!this.#ended) {
        throw error;
      }
    }
  }

  async recordAt(sequence: number): Promise<LogRecord | undefined> {
    const { records } = await this.#read(this.#state, sequence, 1, PAGE_BYTES);
    return records[0]?.sequence === sequence ? records[0] : undefined;
  }

  /** Trims whole messages that are further back than `maxEvents`. */
  onWritten(): void {
    const { sequence, maxEvents } = this.#state;
    const oldest = this.#checkpoints.findLast(
      (checkpoint) => checkpoint.sequence <= sequence - maxEvents + 1,
    );
    if (!oldest || oldest === this.#checkpoints[0]) {
      return;
    }
    this.#checkpoints = this.#checkpoints.slice(this.#checkpoints.indexOf(oldest));
    this.#context.purge(this.#subject, oldest.streamSequence);
  }

  protected get lastSeen(): number {
    return this.#state.sequence;
  }

  protected refuse(): void {
    if (this.#ended) {
      throw this.#ended;
    }
  }

  protected async newest(recent: number, bytes?: number, tries = 5): Promise<Newest> {
    const head = await this.refresh();
    const place = placeOf(head);
    if (recent <= 0 || head.sequence === 0) {
      return { place, records: [] };
    }
    const from = Math.max(1, head.sequence - recent + 1);
    const { records } = await this.#read(head, from, recent, Number.MAX_SAFE_INTEGER);
    if (records.at(-1)?.sequence === head.sequence) {
      return { place, records };
    }
    // It was trimmed meanwhile.
    return tries > 1 ? this.newest(recent, bytes, tries - 1) : { place, records: [] };
  }

  protected async compare(place: Place): Promise<LossReason | undefined> {
    const head = await this.refresh();
    if (head.sequence < place.sequence) {
      return 'regressed';
    }
    const { stream } = this.#context;
    const anchor = await stream.message({ seq: place.streamSequence });
    const held = anchor && anchor.subject === this.#subject ? stateOf(anchor) : undefined;
    if (anchor && anchor.subject === this.#subject && !held) {
      // A message of another program, at which this process began to follow.
      return undefined;
    }
    if (anchor) {
      return held?.sequence === place.sequence && held.nonce === place.nonce ? undefined : 'diverged';
    }
    return (await this.#first()).sequence > (this.place ?? place).sequence + 1 ? 'trimmed' : undefined;
  }

  protected recordsIn(delivery: Delivery): readonly LogRecord[] | (() => void) | 'foreign' {
    const state = stateOf(delivery);
    const records = state && recordsOf(delivery.data, state.sequence, this.#context.namedRules);
    if (!state || !records) {
      return 'foreign';
    }
    if (this.#ended || this.#isEndedBy(state)) {
      return () => this.learn(state);
    }
    this.learn(state);
    if (records.length > 0) {
      this.#mark({ sequence: records[0]!.sequence, streamSequence: delivery.sequence });
    }
    return records;
  }

  protected warn(message: string): void {
    this.#context.engine.warn(message);
  }

  /** Does nothing: a named log has no epoch to replace, and the caller resets its listeners. */
  protected async giveUp(): Promise<void> {}

  /** @throws SseError `closed` if the state is absent or another log's */
  #learnOwn(state: StoredState | undefined): asserts state {
    this.refuse();
    if (state) {
      this.learn(state);
    } else {
      this.expire();
    }
    this.refuse();
  }

  get #noticed(): NoticedLog {
    return { name: this.name, epoch: this.#state.epoch };
  }

  #isEndedBy({ epoch, hasExpired }: StoredState): boolean {
    return hasExpired || epoch !== this.#state.epoch;
  }

  #end(error: SseError): void {
    this.#ended ??= error;
    this.#expiry.cancel();
    this.#noticeListeners.forEach((listener) => listener.stop());
    this.#noticeListeners.clear();
    this.#writer.refuse(this.#ended);
  }

  /** Returns the place of the first record that is held, or will be. */
  async #first(): Promise<Checkpoint> {
    const { stream, namedRules } = this.#context;
    const message = await stream.message({
      seq: this.#state.startsAfter + 1,
      next_by_subj: this.#subject,
    });
    let state = message && stateOf(message);
    let records = state && recordsOf(message!.data, state.sequence, namedRules);
    // Skips messages of other programs.
    for (let next = message; next && !records && next.sequence < this.#state.streamSequence;) {
      const to = this.#state.streamSequence;
      const some = { from: next.sequence + 1, to, limit: PASSED_OVER_AT_ONCE, maxBytes: PAGE_BYTES };
      const messages = await stream.read({ ...some, filter: this.#subject });
      next = messages.at(-1);
      for (const each of messages) {
        state = stateOf(each);
        records = state && recordsOf(each.data, state.sequence, namedRules);
        if (records) {
          break;
        }
      }
    }
    // It may be a message of another log that has replaced this one.
    this.#learnOwn(records && state);
    const [record] = records;
    return { sequence: record?.sequence ?? state.sequence + 1, streamSequence: state.streamSequence };
  }

  async #read(head: StoredState, from: number, limit: number, maxBytes: number): Promise<LogPage> {
    const first = await this.#first();
    const known = this.#checkpoints.findLast(({ sequence }) => sequence <= from);
    const begin = known && known.sequence > first.sequence ? known : first;
    const records: LogRecord[] = [];
    let next = begin.streamSequence;
    let bytes = 0;
    while (records.length < limit && next <= head.streamSequence && from <= head.sequence) {
      const messages = await this.#context.stream.read({
        from: next,
        to: head.streamSequence,
        limit: limit - records.length,
        maxBytes,
        filter: this.#subject,
      });
      for (const message of messages) {
        const state = stateOf(message);
        bytes += message.data.length;
        if (state?.epoch === head.epoch) {
          const held = recordsOf(message.data, state.sequence, this.#context.namedRules) ?? [];
          records.push(...held.filter(({ sequence }) => sequence >= from));
        }
      }
      next = (messages.at(-1)?.sequence ?? head.streamSequence) + 1;
      if (records.length > 1 && bytes > maxBytes / 2) {
        break;
      }
    }
    const gap = records.findIndex(({ sequence }, index) => sequence !== records[0]!.sequence + index);
    const held = records.slice(0, gap === -1 ? limit : Math.min(gap, limit));
    if (held.length === 0 && limit > 0 && from <= head.sequence) {
      // All messages were deleted meanwhile. If another log has replaced this one, that is no trimming.
      await this.refresh();
    }
    const asked = Math.max(from, first.sequence);
    const lowest = held[0] && held[0].sequence > asked ? held[0].sequence : first.sequence;
    return { epoch: head.epoch, records: held, first: lowest, head: head.sequence };
  }

  #mark(checkpoint: Checkpoint): void {
    const last = this.#checkpoints.at(-1);
    const step = this.#state.maxEvents / TRIM_PARTS;
    if (!last || checkpoint.sequence >= last.sequence + step) {
      this.#checkpoints.push(checkpoint);
    }
  }
}

/**
 * Reads the state of a log, and the message that the next one must follow. If that is another program's, the state is
 * in our newest message.
 */
export async function readState(
  { stream }: Pick<NamedContext, 'stream'>,
  subject: string,
): Promise<{ state: StoredState | undefined; last: number }> {
  const message = await stream.message({ last_by_subj: subject });
  const state = message && stateOf(message);
  if (!message || state) {
    return { state, last: message?.sequence ?? 0 };
  }
  const reading = { from: 1, to: message.sequence, limit: MAX_BATCH, maxBytes: Number.MAX_SAFE_INTEGER };
  const messages = await stream.read({ ...reading, filter: subject, headersOnly: true });
  const ours = messages.map(stateOf).findLast((each) => each !== undefined);
  // The log counts as read up to there: the next message follows the other program's.
  return { state: ours && { ...ours, streamSequence: message.sequence }, last: message.sequence };
}

/** Writes a message to a subject whose last message is known. */
export async function putState(
  { publisher, stream }: Pick<NamedContext, 'publisher' | 'stream'>,
  subject: string,
  message: { state: NamedState; body: Uint8Array; expected: number; since: number },
): Promise<StoredState | undefined> {
  const { state, body, expected, since } = message;
  const headers = [stateHeader(state), ['Nats-Expected-Last-Subject-Sequence', `${expected}`] as const];
  try {
    const { sequence } = await publisher.publish(stream.name, { subject, data: body, headers }, since);
    return { ...state, streamSequence: sequence, time: 0 };
  } catch (error) {
    if (error instanceof Refusal && isWrongLastSequence(error.code)) {
      return undefined;
    }
    throw error;
  }
}

/** Whether the newest message of a log is an older one than a known message. */
function isBehind(state: StoredState | undefined, known: StoredState): boolean {
  return state?.epoch === known.epoch && state.streamSequence < known.streamSequence;
}

function placeOf({ epoch, sequence, nonce, streamSequence }: StoredState): Place {
  return { epoch, sequence, nonce, streamSequence };
}
