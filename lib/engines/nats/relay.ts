import type { Appended, LogRecord, NewRecord, RelayBatch, RelayPlace, RelayTarget } from '../../log/index.js';
import { formatPosition } from '../../wire/index.js';
import { Refusal, sizeOf, tooLarge } from './appends.js';
import type { Stored } from './appends.js';
import { closed, isWrongLastSequence, unavailable } from './failure.js';
import { draftOf, messageOf } from './message.js';
import type { Outgoing, StreamMessage } from './message.js';
import type { NatsContext } from './nats.event-log.js';
import type { RelayNote, RelayNotes } from './relay-notes.js';
import type { NatsStream, StreamPlaces } from './stream.js';

/** The header of a relayed event: its position in the source. */
const SOURCE_HEADER = 'Sse-Source';
/** The header by which a stream refuses a message, unless this one is its last. */
const EXPECTED_LAST = 'Nats-Expected-Last-Sequence';
/** How many messages are read at once, in the search for the last relayed one. */
const SEARCHED = 2_000;
const ATTEMPTS = 5;

/** A relayed message: its sequence in the stream, and its position in the source. */
interface Relayed {
  readonly sequence: number;
  readonly source: string;
}

/** A place in the source, and the sequence of the stream's last message then. */
interface KnownPlace {
  readonly source: string | undefined;
  readonly last: number;
}

/**
 * The app's log on NATS, as the place to which the events of another log are relayed. Each message holds its position in
 * the source, and names the message before it: so the last one tells the place, and the stream takes no other there.
 *
 * The stream may have deleted the last relayed message, for its age or for messages of other programs. So the place is
 * noted, too, about once a second. If messages since the note are gone, it is unknown whether they were relayed ones:
 * the log gets a new epoch. So it does if messages are gone and there is no note: it was lost, or the epoch is new.
 */
export class NatsRelayTarget implements RelayTarget {
  readonly allowsDirect = false;
  readonly #context: NatsContext;
  readonly #events: NatsStream;
  readonly #base: string;
  readonly #notes: RelayNotes;
  #known: KnownPlace | undefined;
  /** The newest relayed message up to a sequence. */
  #searched:
    { readonly era: string; readonly last: number; readonly newest: Relayed | undefined } | undefined;

  /** @param base - the prefix of the subjects of all events */
  constructor(
    context: NatsContext,
    events: NatsStream,
    { base, notes }: { base: string; notes: RelayNotes },
  ) {
    this.#context = context;
    this.#events = events;
    this.#base = base;
    this.#notes = notes;
  }

  check(record: NewRecord): void {
    const draft = { ...draftOf(record, 'ffffffff', Date.now()), sequence: Number.MAX_SAFE_INTEGER };
    const message = this.#messageOf(draft, 'f'.repeat(16), Number.MAX_SAFE_INTEGER);
    const refusal = tooLarge(message, sizeOf(message), this.#context.link.maxPayload);
    if (refusal) {
      throw refusal;
    }
  }

  place(): Promise<RelayPlace> {
    return this.#ask(() => this.#place());
  }

  async take({ epoch, records }: RelayBatch, at: RelayPlace): Promise<Appended | undefined> {
    const known = this.#known;
    this.#known = undefined;
    if (!known || known.source !== at.source) {
      return undefined;
    }
    const outcomes = await this.#ask(() => this.#publish(records, epoch, known.last));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    const end = outcomes.findIndex((outcome) => outcome.status === 'rejected');
    const taken = records
      .slice(0, end === -1 ? records.length : end)
      .map((record, index) => ({ ...record, sequence: known.last + 1 + index }));
    if (taken.length > 0) {
      const { sequence, nonce } = records[taken.length - 1]!;
      const source = formatPosition({ epoch, sequence, nonce });
      this.#known = { source, last: taken.at(-1)!.sequence };
      return { epoch: at.epoch, records: taken };
    }
    const error: unknown = failed?.reason;
    if (error instanceof Refusal && isWrongLastSequence(error.code)) {
      return undefined;
    }
    throw this.#context.closed.aborted ? closed(false) : unavailable(error);
  }

  renew(at: RelayPlace, next: { source: string | undefined; keep: boolean }): Promise<void> {
    return this.#ask(() => this.#renew(at, next));
  }

  async note({ epoch, source }: RelayPlace): Promise<void> {
    const known = this.#known;
    if (known && known.source === source) {
      await this.#ask(async () => {
        const { since } = (await this.#notes.read(epoch)) ?? { since: 0 };
        await this.#notes.write({ epoch, source, last: known.last, since });
      });
    }
  }

  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    const { closed: closing, link } = this.#context;
    if (closing.aborted) {
      throw closed(true);
    }
    try {
      await link.whenStarted('requestTimeoutMs');
      return await ask();
    } catch (error) {
      throw closing.aborted ? closed(false) : unavailable(error);
    }
  }

  async #place(): Promise<RelayPlace> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const places = (await this.#events.places()) ?? (await this.#events.ensure());
      const { epoch, last } = places;
      const newest = await this.#newest(places);
      const known = newest ? await this.#afterRenewal(newest, epoch) : await this.#noted(places);
      if (known) {
        this.#known = { source: known.source, last };
        return { epoch, source: known.source };
      }
    }
    throw unavailable(new Error('the stream changes while the place of the outbox is read'));
  }

  /** Finds the newest relayed message that the stream holds. */
  async #newest({ epoch, first, last, leader }: StreamPlaces): Promise<Relayed | undefined> {
    // Messages that were searched before are the same, as long as the same server answers.
    const era = `${epoch} ${leader} ${this.#context.link.losses}`;
    const before = this.#searched?.era === era && this.#searched.last <= last ? this.#searched : undefined;
    const least = Math.max(first, (before?.last ?? 0) + 1);
    const newest = (last >= least ? await this.#search(least, last) : undefined) ?? before?.newest;
    this.#searched = { era, last, newest };
    return newest && newest.sequence >= first ? newest : undefined;
  }

  async #search(from: number, to: number): Promise<Relayed | undefined> {
    // It is nearly always the last message.
    const last = await this.#events.message({ seq: to });
    const found = last && relayedOf(last);
    if (found) {
      return found;
    }
    for (let end = to - 1; end >= from; end -= SEARCHED) {
      const start = Math.max(from, end - SEARCHED + 1);
      const reading = { from: start, to: end, limit: SEARCHED, maxBytes: Number.MAX_SAFE_INTEGER };
      const messages = await this.#events.read({ ...reading, headersOnly: true });
      const newest = messages.map(relayedOf).findLast((relayed) => relayed !== undefined);
      if (newest) {
        return newest;
      }
    }
    return undefined;
  }

  /** Returns the place of a renewed log. What it holds from before does not count. */
  async #afterRenewal(newest: Relayed, epoch: string): Promise<Pick<KnownPlace, 'source'>> {
    const note = await this.#notes.read(epoch);
    return note && newest.sequence <= note.since ? note : newest;
  }

  /**
   * Returns the noted place, if the stream holds no relayed message. If messages are gone that came after the note, or
   * the note itself is gone, the log is renewed.
   */
  async #noted({ epoch, first, last }: StreamPlaces): Promise<Pick<KnownPlace, 'source'> | undefined> {
    const isWhole = (note: RelayNote) => note.last <= last && first <= note.last + 1;
    let note = await this.#notes.read(epoch);
    if (note && !isWhole(note)) {
      note = await this.#notes.read(epoch, true);
    }
    if (!note && first <= 1) {
      // Nothing was deleted, so nothing was relayed.
      note = { epoch, last, source: undefined, since: 0 };
      await this.#notes.write(note);
    }
    if (note && isWhole(note)) {
      return note;
    }
    const source = note && note.last <= last ? note.source : undefined;
    await this.#renew({ epoch, source: undefined }, { source, keep: true });
    return undefined;
  }

  /** Several instances may do this at once: none deletes what another has relayed since. */
  async #renew(
    { epoch }: RelayPlace,
    { source, keep }: { source: string | undefined; keep: boolean },
  ): Promise<void> {
    const before = await this.#events.places();
    if (before?.epoch !== epoch) {
      return;
    }
    await this.#events.replaceEpoch(epoch);
    if (!keep && before.messages > 0) {
      await this.#events.purge({ seq: before.last + 1 });
    }
    const after = await this.#events.places();
    if (after) {
      await this.#notes.write({ epoch: after.epoch, source, last: before.last, since: before.last });
    }
  }

  /** In order, all at once: if one is refused, so are those after it. */
  #publish(
    records: readonly LogRecord[],
    epoch: string,
    last: number,
  ): Promise<PromiseSettledResult<Stored>[]> {
    const since = performance.now();
    const publishing = records.map((record, index) => {
      const message = this.#messageOf(record, epoch, last + index);
      return this.#context.publisher.publish(this.#events.name, message, since);
    });
    return Promise.allSettled(publishing);
  }

  #messageOf(record: LogRecord, epoch: string, expectedLast: number): Outgoing {
    const { sequence, nonce, time } = record;
    const { headers, ...message } = messageOf(draftOf(record, nonce, time), this.#base);
    const source = formatPosition({ epoch, sequence, nonce });
    return { ...message, headers: [...headers, [SOURCE_HEADER, source], [EXPECTED_LAST, `${expectedLast}`]] };
  }
}

function relayedOf(message: StreamMessage): Relayed | undefined {
  const source = message.header(SOURCE_HEADER);
  return source === '' ? undefined : { sequence: message.sequence, source };
}
