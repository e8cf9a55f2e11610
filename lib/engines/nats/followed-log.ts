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

/** A position of a log, and the sequence of its message in the stream. */
export interface Place extends LogHead {
  readonly streamSequence: number;
}

/** The newest part of a log. */
export interface Newest {
  readonly place: Place;
  /** The newest records. They end at the head. */
  readonly records: readonly LogRecord[];
}

/** The common base of both kinds of logs: their listeners, and one reader for all of them while there are any. */
export abstract class FollowedLog implements EventLog, ReaderOwner {
  protected readonly listeners = new LogListeners();
  /** The last position that listeners have received; undefined without listeners. */
  protected place: Place | undefined;
  readonly #link: NatsLink;
  readonly #tail: { readonly stream: string; readonly filter?: string };
  readonly #stopping = new Set<Promise<void>>();
  #reader: Reader | undefined;
  #starting: Promise<void> | undefined;
  /** The number of pending follow() calls. */
  #following = 0;
  #hasGap = false;

  constructor(link: NatsLink, tail: { readonly stream: string; readonly filter?: string }) {
    this.#link = link;
    this.#tail = tail;
  }

  abstract append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<Appended>;
  abstract page(from: number, limit: number): Promise<LogPage>;
  abstract onState(trouble: string | undefined): void;

  /** @throws SseError if the log or the store is closed */
  protected abstract refuse(): void;
  /** Reads the newest records. @param bytes - the most bytes, about */
  protected abstract newest(recent: number, bytes?: number): Promise<Newest>;
  /** The sequence of the newest record, as last read. */
  protected abstract get lastSeen(): number;
  /** Checks a position. @returns why it is not valid any more, or does not go on; undefined if it is fine */
  protected abstract compare(place: Place, isNewReader: boolean): Promise<LossReason | undefined>;
  /**
   * Reads the records of a message.
   *
   * @returns the records; the end of the log if the message ends it; `foreign` for a message without a position in the
   * log, `hole` for one with a position but no record
   */
  protected abstract recordsIn(delivery: Delivery): readonly LogRecord[] | (() => void) | 'foreign' | 'hole';
  /** Logs the error of a listener. */
  protected abstract warn(message: string): void;
  /** Called if delivered records are lost: no process may take them for records of the log. */
  protected abstract giveUp(reason: LossReason): Promise<void>;

  async head(): Promise<LogHead> {
    this.refuse();
    try {
      await this.#link.whenStarted('requestTimeoutMs');
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
      // All listeners have stopped meanwhile. Newer listeners began at another position, with another reader.
      return { after: place.streamSequence, isUnchanged: true, isBehind: false };
    }
    this.#hasGap = false;
    this.place = place;
    this.listeners.reset(headOf(place), reason);
    return { after: place.streamSequence, isUnchanged: false, isBehind: false };
  }

  onMessages(messages: readonly Delivery[]): false | Promise<unknown> | undefined {
    const received: LogRecord[] = [];
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
      const read = records as readonly LogRecord[];
      const last = read.at(-1) ?? place;
      place = {
        epoch: place.epoch,
        sequence: last.sequence,
        nonce: last.nonce,
        streamSequence: message.sequence,
      };
      received.push(...read);
    }
    if (this.place) {
      this.place = place;
    }
    const busy = received.length > 0 ? this.#notify(received) : undefined;
    // Listeners are reset last.
    end?.();
    return this.#hasGap ? false : busy;
  }

  /** Stops reading. Resolves when the reader has stopped. */
  protected async stopFollowing(): Promise<void> {
    this.listeners.clear();
    this.#stopReading();
    await Promise.all(this.#stopping);
  }

  /** Catches errors of listeners: this runs in a turn of the connection, where no caller catches them. */
  #notify(records: readonly LogRecord[]): Promise<unknown> | undefined {
    try {
      return this.listeners.notify(records);
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
    // Before a listener gets a head: records after this position are read for all of them.
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

  /** Stops reading if there are no listeners. */
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

/** Returns as many of the newest records as fit, about. */
function lightest(records: readonly LogRecord[], bytes: number): readonly LogRecord[] {
  let left = bytes;
  const first = records.findLastIndex(({ topic, data }) => (left -= topic.length + data.length) < 0);
  return records.slice(first + 1);
}

export function headOf({ epoch, sequence, nonce }: LogHead): LogHead {
  return { epoch, sequence, nonce };
}
