import { LogListeners } from '../index.js';
import type {
  Appended,
  EventLog,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  LossReason,
  NewRecord,
} from '../../log/index.js';
import type { Delivery } from './delivery.js';
import { unavailable } from './failure.js';
import type { NatsLink } from './link.js';
import { Reader } from './reader.js';
import type { ReaderOwner, Verified } from './reader.js';

/** A place of a log, and that of its message in the stream. */
export interface Place extends LogHead {
  readonly streamSequence: number;
}

/** The newest part of a log. */
export interface Newest {
  readonly place: Place;
  /** They end at that place. */
  readonly records: readonly LogRecord[];
}

/** What both kinds of logs have in common: those who follow, and one reader for all of them while there are any. */
export abstract class FollowedLog implements EventLog, ReaderOwner {
  protected readonly listeners = new LogListeners();
  /** The last that was told; undefined while nobody follows. */
  protected place: Place | undefined;
  readonly #link: NatsLink;
  readonly #tail: { readonly stream: string; readonly filter?: string };
  readonly #stopping = new Set<Promise<void>>();
  #reader: Reader | undefined;
  #starting: Promise<void> | undefined;
  /** How many follow() calls are under way. */
  #following = 0;
  #hasGap = false;

  constructor(link: NatsLink, tail: { readonly stream: string; readonly filter?: string }) {
    this.#link = link;
    this.#tail = tail;
  }

  abstract append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<Appended>;
  abstract page(from: number, limit: number): Promise<LogPage>;
  abstract onState(trouble: string | undefined): void;

  /** @throws SseError where nothing can be asked for any more */
  protected abstract refuse(): void;
  /** @param bytes - what they may take, about: it may give more of them */
  protected abstract newest(recent: number, bytes?: number): Promise<Newest>;
  /** The sequence of the newest record when it was last asked for. */
  protected abstract get lastSeen(): number;
  /** @returns why what was told up to this place does not stand any more, or does not go on */
  protected abstract compare(place: Place, isNewReader: boolean): Promise<LossReason | undefined>;
  /**
   * @returns the records of a message; where the log ends with it, what ends it; `foreign` for one that has no place in
   * the log, `hole` for one that has a place and no record
   */
  protected abstract recordsIn(delivery: Delivery): readonly LogRecord[] | (() => void) | 'foreign' | 'hole';
  /** Logs what a listener has thrown. */
  protected abstract warn(message: string): void;
  /** What was told up to now is lost: it must not be taken for what the log holds, by anybody. */
  protected abstract giveUp(reason: LossReason): Promise<void>;

  async head(): Promise<LogHead> {
    this.refuse();
    try {
      await this.#link.whenStarted(this.#link.requestTimeoutMs);
      return headOf((await this.newest(0)).place);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async follow(
    listener: LogListener,
    { recent = 0, recentBytes = Infinity }: { recent?: number; recentBytes?: number } = {},
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    this.refuse();
    this.#following += 1;
    try {
      await this.#link.whenStarted();
      await this.#startReading();
      return await this.#join(listener, { recent, recentBytes });
    } catch (error) {
      throw unavailable(error);
    } finally {
      this.#following -= 1;
      this.#rest();
    }
  }

  async verify(isNewReader: boolean): Promise<Verified> {
    const before = this.place!;
    const reader = this.#reader;
    const reason = (await this.compare(before, isNewReader)) ?? (this.#hasGap ? 'trimmed' : undefined);
    if (reason === undefined) {
      const { sequence, streamSequence } = this.place ?? before;
      return { after: streamSequence, isUnchanged: true, isBehind: this.lastSeen > sequence };
    }
    await this.giveUp(reason);
    const { place } = await this.newest(0);
    if (this.#reader !== reader) {
      // Everybody has left meanwhile; who has come since began with another place, and has another reader.
      return { after: place.streamSequence, isUnchanged: true, isBehind: false };
    }
    this.#hasGap = false;
    this.place = place;
    this.listeners.reset(headOf(place), reason);
    return { after: place.streamSequence, isUnchanged: false, isBehind: false };
  }

  onMessages(messages: readonly Delivery[]): false | Promise<unknown> | undefined {
    const heard: LogRecord[] = [];
    let { place } = this;
    let end: (() => void) | undefined;
    for (const message of messages) {
      if (!place || message.sequence <= place.streamSequence) {
        continue;
      }
      const records = this.recordsIn(message);
      if (records === 'foreign') {
        continue;
      }
      if (typeof records === 'function') {
        end = records;
        break;
      }
      const first = records === 'hole' ? undefined : records[0];
      this.#hasGap = records === 'hole' || (first !== undefined && first.sequence !== place.sequence + 1);
      if (this.#hasGap) {
        break;
      }
      const told = records as readonly LogRecord[];
      const last = told.at(-1) ?? place;
      place = {
        epoch: place.epoch,
        sequence: last.sequence,
        nonce: last.nonce,
        streamSequence: message.sequence,
      };
      heard.push(...told);
    }
    if (this.place) {
      this.place = place;
    }
    const busy = heard.length > 0 ? this.#tell(heard) : undefined;
    // Who follows hears of the end last.
    end?.();
    return this.#hasGap ? false : busy;
  }

  /** Stops reading, and resolves when nothing of it is left. */
  protected async stopFollowing(): Promise<void> {
    this.listeners.clear();
    this.#stopReading();
    await Promise.all(this.#stopping);
  }

  /** What is called from a turn of the connection's must not throw there: nobody would catch it. */
  #tell(records: readonly LogRecord[]): Promise<unknown> | undefined {
    try {
      return this.listeners.tell(records);
    } catch (error) {
      this.warn(
        `NATS: a listener of the log has thrown: ${error instanceof Error ? error.stack : String(error)}`,
      );
      return undefined;
    }
  }

  async #startReading(): Promise<void> {
    this.#starting ??= this.#begin().catch((error: unknown) => {
      this.#starting = undefined;
      throw error;
    });
    await this.#starting;
  }

  async #begin(): Promise<void> {
    // Before anybody is given a head: what comes after this place is read, whoever begins later than here.
    const { place } = await this.newest(0);
    this.refuse();
    this.place = place;
    this.#reader = new Reader(this.#link, this.#tail.stream, this, this.#tail.filter);
    this.#reader.start();
  }

  async #join(
    listener: LogListener,
    { recent, recentBytes }: { recent: number; recentBytes: number },
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    for (;;) {
      const listening = this.listeners.add(listener);
      try {
        const { place, records } = await this.newest(recent, recentBytes);
        this.refuse();
        if (!listening.wasReset) {
          const stop = () => {
            listening.stop();
            this.#rest();
          };
          listening.begin(place.sequence);
          return { head: headOf(place), recent: lightest(records, recentBytes), stop };
        }
      } catch (error) {
        listening.stop();
        throw error;
      }
      listening.stop();
    }
  }

  /** Reads nothing for nobody. */
  #rest(): void {
    if (this.#following === 0 && this.listeners.size === 0) {
      this.#stopReading();
    }
  }

  #stopReading(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#starting = undefined;
    this.place = undefined;
    this.#hasGap = false;
    if (reader) {
      const stopping: Promise<void> = reader.stop().then(() => void this.#stopping.delete(stopping));
      this.#stopping.add(stopping);
      this.onState(undefined);
    }
  }
}

/** As many of the newest as fit, about. */
function lightest(records: readonly LogRecord[], bytes: number): readonly LogRecord[] {
  let left = bytes;
  const first = records.findLastIndex(({ topic, data }) => (left -= topic.length + data.length) < 0);
  return records.slice(first + 1);
}

export function headOf({ epoch, sequence, nonce }: LogHead): LogHead {
  return { epoch, sequence, nonce };
}
