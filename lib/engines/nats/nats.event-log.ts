import { createHash } from 'node:crypto';
import { SseError } from '../../errors/index.js';
import { NO_NONCE } from '../../wire/index.js';
import type {
  Appended,
  EngineContext,
  Lease,
  LogPage,
  LogRecord,
  LossReason,
  NewRecord,
} from '../../log/index.js';
import type { NonceSource } from '../index.js';
import type { Delivery } from './delivery.js';
import { closed, leaseLost, unavailable } from './failure.js';
import { FollowedLog } from './followed-log.js';
import type { Newest, Place } from './followed-log.js';
import { LATE } from './health.js';
import type { NatsHealth } from './health.js';
import { pause } from '../../time/index.js';
import type { NatsLink } from './link.js';
import { draftOf, headerNonceOf, messageOf, nonceOf, recordOf } from './message.js';
import type { Draft, ReadingRules, StreamMessage } from './message.js';
import type { NatsSettings } from './options.js';
import { Refusal } from './appends.js';
import type { Publisher, Stored } from './appends.js';
import type { NatsStream, StreamPlaces } from './stream.js';

/** The parts that the logs of a store share. */
export interface NatsContext {
  readonly settings: NatsSettings;
  readonly link: NatsLink;
  readonly publisher: Publisher;
  readonly health: NatsHealth;
  readonly nonces: NonceSource;
  /** The app, as its engine sees it. */
  readonly engine: EngineContext;
  /** The checks of records of the app's log and of named logs. */
  readonly rules: ReadingRules;
  readonly namedRules: ReadingRules;
  /** Aborts when the store is closed. */
  readonly closed: AbortSignal;
}

// The most bytes of a page, or of the newest records: they are in memory as a whole.
export const PAGE_BYTES = 8_388_608;
const NEWEST_BYTES = 67_108_864;
export const MAX_BATCH = 100_000;
// Tries, for a log that is trimmed faster than it is read.
const ATTEMPTS = 5;
// Some kilobytes of headers, which are read when another server may be in charge.
const MOST_DELIVERED = 256;
const MOST_ACKNOWLEDGED = 10_000;
const RECHECK_MS = 500;

/** The app's log: a stream with a message for each event. Its sequences are the stream's. */
export class NatsEventLog extends FollowedLog {
  readonly #context: NatsContext;
  readonly #stream: NatsStream;
  /** The prefix of the subjects of all events. */
  readonly #base: string;
  /** The epoch of the stream on this connection; undefined if it may have changed. */
  #epoch: string | undefined;
  #last = 0;
  #leader: string | undefined;
  /** The nonces of the last delivered events, by sequence: a log that goes on still has them. */
  readonly #delivered = new Map<number, string>();
  /** The nonces of events that were acknowledged to this process and not read yet. */
  readonly #acknowledged = new Map<number, string>();
  /** The epoch of these nonces. */
  #noncesEpoch: string | undefined;
  /** Whether a read event differs from the acknowledged one. */
  #hasParted = false;
  /** The newest record that this process knows. The stream may have trimmed it. */
  #known: Pick<Place, 'epoch' | 'sequence' | 'nonce'> = { epoch: '', sequence: 0, nonce: NO_NONCE };

  constructor(context: NatsContext, stream: NatsStream, base: string) {
    super(context.link, { stream: stream.name });
    this.#context = context;
    this.#stream = stream;
    this.#base = base;
    context.link.onConnection(() => this.forget());
  }

  /** Forgets the epoch: the stream may have been replaced, and it must be read again. */
  forget(): void {
    this.#epoch = undefined;
  }

  async append(records: readonly NewRecord[], { lease }: { lease?: Lease } = {}): Promise<Appended> {
    const since = performance.now();
    const { link, nonces } = this.#context;
    const time = Date.now();
    const drafts = records.map((record) => draftOf(record, nonces.next(), time));
    try {
      this.refuse();
      if (lease?.signal.aborted) {
        throw leaseLost();
      }
      await link.whenStarted('publishTimeoutMs');
    } catch (error) {
      throw notPublished(error, true);
    }
    const stored = await this.#publish(drafts, since);
    try {
      const epoch = await this.#epochOf(drafts, stored);
      return { epoch, records: this.#number(drafts, stored, epoch) };
    } catch (error) {
      throw notPublished(error, drafts.length === 0);
    }
  }

  async page(from: number, limit: number): Promise<LogPage> {
    this.refuse();
    const { link } = this.#context;
    try {
      await link.whenStarted('requestTimeoutMs');
      return await this.#read(from, Math.min(limit, MAX_BATCH));
    } catch (error) {
      throw unavailable(error);
    }
  }

  onState(trouble: string | undefined): void {
    const { health } = this.#context;
    health.report('reading', trouble);
    if (trouble === undefined) {
      health.report('writing', undefined, LATE);
    }
  }

  async close(): Promise<void> {
    await this.stopFollowing();
  }

  protected get lastSeen(): number {
    return this.#last;
  }

  protected refuse(): void {
    if (this.#context.closed.aborted) {
      throw closed(true);
    }
  }

  protected recordsIn(delivery: Delivery): readonly LogRecord[] | 'hole' {
    const record = this.#recordOf(delivery);
    if (!record) {
      return 'hole';
    }
    const { epoch } = this.place!;
    this.#startOver(epoch);
    const acknowledged = this.#acknowledged.get(record.sequence);
    this.#acknowledged.delete(record.sequence);
    if (acknowledged !== undefined && acknowledged !== record.nonce) {
      this.#hasParted = true;
      return 'hole';
    }
    if (headerNonceOf(delivery) === record.nonce) {
      remember(this.#delivered, record.sequence, record.nonce, MOST_DELIVERED);
    }
    this.#know(epoch, record);
    return [record];
  }

  /** Gives the stream a new epoch, so that clients of instances without the lost events are reset, too. */
  protected async giveUp(reason: LossReason): Promise<void> {
    this.#startOver(undefined);
    const { epoch } = this.place ?? {};
    if (epoch !== undefined && (reason === 'regressed' || reason === 'diverged')) {
      await this.#stream.replaceEpoch(epoch);
    }
  }

  protected warn(message: string): void {
    this.#context.engine.warn(message);
  }

  protected async newest(recent: number, bytes = NEWEST_BYTES): Promise<Newest> {
    let places = await this.#places();
    for (let attempt = 1; attempt <= ATTEMPTS && places.messages > 0; attempt += 1) {
      const messages = await this.#tailOf(places, recent, Math.min(bytes, NEWEST_BYTES));
      const { epoch, last } = places;
      const newest = messages.at(-1);
      if (newest?.sequence === last) {
        const records = this.#recordsOf(messages);
        const nonce = this.#nonceOf(newest);
        const place = { epoch, sequence: last, nonce, streamSequence: last };
        return { place, records: recent > 0 ? endingAt(last, records).slice(-recent) : [] };
      }
      places = await this.#places();
    }
    return { place: this.#placeOfGone(places), records: [] };
  }

  protected async compare(place: Place, isNewReader: boolean): Promise<LossReason | undefined> {
    const reason = await this.#compare(place, isNewReader);
    if (reason !== 'regressed' && reason !== 'diverged') {
      return reason;
    }
    // A server that was just elected may not have all events yet.
    await pause(RECHECK_MS, this.#context.link.signal);
    return this.#compare(place, true);
  }

  async #compare(place: Place, isNewReader: boolean): Promise<LossReason | undefined> {
    const before = this.#leader;
    // What is acknowledged from here on may be later than the answer.
    const acknowledged = Math.max(0, ...this.#acknowledged.keys());
    const places = await this.#places();
    if (places.epoch !== place.epoch) {
      return 'epoch';
    }
    if (places.last < Math.max(place.sequence, acknowledged)) {
      return 'regressed';
    }
    const hasMoved = isNewReader || places.leader !== before;
    if (this.#hasParted || (hasMoved && !(await this.#holdsDelivered(places)))) {
      return 'diverged';
    }
    const anchor = place.sequence > 0 ? await this.#stream.message({ seq: place.sequence }) : undefined;
    if (anchor) {
      return this.#nonceOf(anchor) === place.nonce ? undefined : 'diverged';
    }
    // Delivered events may be trimmed by now; the next event may not.
    return places.first > (this.place ?? place).sequence + 1 ? 'trimmed' : undefined;
  }

  /**
   * Checks whether the stream holds the last delivered events, as far as they are not trimmed. Checking the last one
   * alone is not enough: histories of a cluster's servers may differ in the middle and agree at the end.
   */
  async #holdsDelivered({ first }: StreamPlaces): Promise<boolean> {
    const delivered = Array.from(this.#delivered).filter(([sequence]) => sequence >= first);
    if (delivered.length < 2) {
      return true;
    }
    const [from, to] = [delivered[0]![0], delivered.at(-1)![0]];
    const reading = { from, to, limit: to - from + 1, maxBytes: Number.MAX_SAFE_INTEGER, headersOnly: true };
    const held = new Map(
      (await this.#stream.read(reading)).map((each) => [each.sequence, headerNonceOf(each)]),
    );
    return delivered.every(([sequence, nonce]) => {
      const found = held.get(sequence);
      // A message without our header has a nonce made of its payload. A missing one was trimmed or deleted.
      return found === undefined || found === nonce;
    });
  }

  async #publish(drafts: readonly Draft[], since: number): Promise<Stored[]> {
    // In order on one connection, which keeps the order. Repeated messages keep it, too.
    const publishing = drafts.map((draft) =>
      this.#context.publisher.publish(this.#stream.name, messageOf(draft, this.#base), since),
    );
    const outcomes = await Promise.allSettled(publishing);
    const stored = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
    const failures = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
    );
    if (failures.length > 0) {
      throw notPublished(failures[0], stored.length === 0 && failures.every(isOutcomeKnown));
    }
    const isOrdered = stored.every(
      ({ sequence }, index) => index === 0 || sequence > stored[index - 1]!.sequence,
    );
    if (!isOrdered) {
      throw new SseError('publish-failed', 'NATS has taken the events of one append in another order.', {
        isOutcomeKnown: false,
      });
    }
    return stored;
  }

  /**
   * Returns the epoch of the log that has taken events. If the connection was lost since an answer, the log may be
   * another one by now, or lack them.
   *
   * @throws SseError `publish-failed` if the log does not have them
   */
  async #epochOf(drafts: readonly Draft[], stored: readonly Stored[]): Promise<string> {
    const { link } = this.#context;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const { losses } = link;
      const epoch = this.#epoch ?? (await this.#places()).epoch;
      const uncertain = drafts.map((draft, index) => [draft, stored[index]!] as const);
      const isHeld = await this.#holds(uncertain.filter(([, answer]) => answer.losses !== losses));
      if (losses === link.losses) {
        if (isHeld) {
          return epoch;
        }
        break;
      }
    }
    const what = 'NATS has taken the event, and does not have it any more since the connection was lost.';
    throw new SseError('publish-failed', what, { isOutcomeKnown: false });
  }

  async #holds(events: readonly (readonly [Draft, Stored])[]): Promise<boolean> {
    for (const [{ nonce }, { sequence }] of events) {
      const message = await this.#stream.message({ seq: sequence });
      if (!message || headerNonceOf(message) !== nonce) {
        return false;
      }
    }
    return true;
  }

  #number(drafts: readonly Draft[], stored: readonly Stored[], epoch: string): LogRecord[] {
    const records = drafts.map((draft, index) => ({ ...draft, sequence: stored[index]!.sequence }));
    const last = records.at(-1);
    if (last) {
      this.#know(epoch, last);
    }
    if (epoch === this.place?.epoch) {
      this.#startOver(epoch);
      records.forEach((record) => this.#noteAcknowledged(record));
    }
    return records;
  }

  /** Forgets the nonces of another epoch. */
  #startOver(epoch: string | undefined): void {
    if (epoch !== this.#noncesEpoch) {
      this.#noncesEpoch = epoch;
      this.#delivered.clear();
      this.#acknowledged.clear();
      this.#hasParted = false;
    }
  }

  /** Compares read events with acknowledged ones: see `#hasParted`. */
  #noteAcknowledged({ sequence, nonce }: LogRecord): void {
    // The stream may have lost what it had acknowledged there before.
    const known = this.#delivered.get(sequence) ?? this.#acknowledged.get(sequence);
    if (known !== undefined) {
      this.#hasParted ||= known !== nonce;
    } else if (this.place && sequence > this.place.sequence) {
      remember(this.#acknowledged, sequence, nonce, MOST_ACKNOWLEDGED);
    }
  }

  #know(epoch: string, { sequence, nonce }: LogRecord): void {
    if (epoch !== this.#known.epoch || sequence > this.#known.sequence) {
      this.#known = { epoch, sequence, nonce };
    }
  }

  async #places(): Promise<StreamPlaces> {
    const { losses } = this.#context.link;
    const places = (await this.#stream.places()) ?? (await this.#stream.ensure());
    // The answers may be from before and after a loss.
    this.#epoch = losses === this.#context.link.losses ? places.epoch : undefined;
    this.#last = places.last;
    this.#leader = places.leader;
    return places;
  }

  /** Reads the last messages: as many as requested, fewer if they are large, at least one. */
  async #tailOf(places: StreamPlaces, recent: number, bytes: number): Promise<StreamMessage[]> {
    const { first, last, messages } = places;
    const fitting = Math.ceil(bytes / Math.max(1, places.bytes / messages));
    const count = Math.max(1, Math.min(recent, fitting, MAX_BATCH));
    if (count === 1) {
      const message = await this.#stream.message({ seq: last });
      return message ? [message] : [];
    }
    const from = Math.max(first, last - count + 1);
    return this.#stream.read({ from, to: last, limit: count, maxBytes: Number.MAX_SAFE_INTEGER });
  }

  /**
   * Makes the head of a stream without messages. Processes that have not received its last event agree on another
   * nonce. A client with the real nonce is reset, and misses nothing.
   */
  #placeOfGone({ epoch, last }: StreamPlaces): Place {
    const { epoch: knownEpoch, sequence, nonce } = this.#known;
    if (last === 0) {
      return { epoch, sequence: 0, nonce: NO_NONCE, streamSequence: 0 };
    }
    const isKnown = epoch === knownEpoch && sequence === last;
    const made = createHash('sha256').update(`${epoch}-${last}`).digest('hex').slice(0, 8);
    return { epoch, sequence: last, nonce: isKnown ? nonce : made, streamSequence: last };
  }

  async #read(from: number, limit: number): Promise<LogPage> {
    let next = from;
    for (let attempt = 1; ; attempt += 1) {
      const { epoch, first, last } = await this.#places();
      const start = Math.max(next, first);
      const reading = { from: start, to: last, limit, maxBytes: PAGE_BYTES };
      const list = limit > 0 ? await this.#stream.read(reading) : [];
      const records = this.#recordsOf(list);
      if (records.length > 0 || start > last || limit === 0 || attempt === ATTEMPTS) {
        const gap = records.findIndex(({ sequence }, index) => sequence !== records[0]!.sequence + index);
        const held = gap === -1 ? records : records.slice(0, gap);
        // The requested messages may have been trimmed since, or be no events.
        const begins = held[0]?.sequence ?? (list.at(-1)?.sequence ?? start - 1) + 1;
        return { epoch, records: held, first: begins > Math.max(from, first) ? begins : first, head: last };
      }
      // Skips messages that are no events. If the stream was trimmed meanwhile, it is read again.
      next = (list.at(-1)?.sequence ?? start - 1) + 1;
    }
  }

  #recordsOf(messages: readonly StreamMessage[]): LogRecord[] {
    return messages.flatMap((message) => this.#recordOf(message) ?? []);
  }

  #nonceOf(message: StreamMessage): string {
    return nonceOf(message, this.#base, this.#context.rules);
  }

  #recordOf(message: StreamMessage): LogRecord | undefined {
    return recordOf(message, this.#base, this.#context.rules);
  }
}

function remember(nonces: Map<number, string>, sequence: number, nonce: string, most: number): void {
  nonces.set(sequence, nonce);
  if (nonces.size > most) {
    const [oldest] = nonces.keys();
    nonces.delete(oldest!);
  }
}

/** Returns the last records without a gap, up to a sequence. */
function endingAt(last: number, records: readonly LogRecord[]): readonly LogRecord[] {
  const gap = records.findLastIndex(({ sequence }, index) => records[index - 1]?.sequence !== sequence - 1);
  return records.at(-1)?.sequence === last ? records.slice(Math.max(0, gap)) : [];
}

/** Makes the error of a failed append. */
export function notPublished(error: unknown, isKnown: boolean): SseError {
  if (error instanceof SseError && error.code !== 'log-unavailable') {
    return error.isOutcomeKnown === isKnown
      ? error
      : new SseError(error.code, error.message, {
          cause: error,
          field: error.field,
          isOutcomeKnown: isKnown,
        });
  }
  const { message } = error instanceof Refusal ? error : unavailable(error);
  const what = error instanceof Refusal ? `NATS has refused the event: ${message}.` : message;
  return new SseError('publish-failed', what, { cause: error, isOutcomeKnown: isKnown });
}

export function isOutcomeKnown(error: unknown): boolean {
  return (error as { isOutcomeKnown?: boolean }).isOutcomeKnown === true;
}
