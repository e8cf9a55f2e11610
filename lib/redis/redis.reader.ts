import { LogListeners, newEpoch } from '../log/index.js';
import type { LogHead, LogRecord, LossReason } from '../log/index.js';
import { NO_NONCE } from '../wire/index.js';
import type { RedisConnection } from './redis.clients.js';
import { failureOf, RedisFailure } from './redis.failure.js';
import type { LogKeys } from './redis.keys.js';
import type { RedisLink } from './redis.link.js';
import { entryId, headOf, placesOf, streamsOf } from './redis.replies.js';
import type { RedisEntry, RedisPlace } from './redis.replies.js';
import { REPLACE_EPOCH, VERIFY } from './redis.scripts.js';

/** A log that the reader reads, and how far it has. */
export class FollowedLog {
  readonly keys: LogKeys;
  readonly isNamed: boolean;
  readonly listeners = new LogListeners();
  head: LogHead;

  constructor(keys: LogKeys, isNamed: boolean, head: LogHead) {
    this.keys = keys;
    this.isNamed = isNamed;
    this.head = head;
  }
}

/** What the reader tells of itself. */
export interface ReaderListener {
  /** It reads, and what it read so far goes on. */
  onReading(): void;
  onFailure(failure: RedisFailure): void;
}

// One more than the reader waits: a reply that takes longer does not come.
const BLOCK_MS = 1_000;
const READ_TIMEOUT_MS = 2_000;
/** Where a blocked read cannot be woken for a log that has just been followed. */
const SHORT_BLOCK_MS = 200;
const WAKE_AGAIN_MS = 5;
const VERIFY_MS = 1_000;
const MOST_ENTRIES = 500;
const LEAST_ENTRIES = 8;
const REPLY_BYTES = 8_388_608;

/**
 * Reads the tail of all logs that are followed, on one connection. Each entry has to be the next of the
 * same line: its sequence one more than the last, and the nonce that it holds that of the last. Where it
 * is not, and after each reconnect, on each idle timeout and every second under load, the reader asks
 * whether the place where it stands is still there; where not, those who follow are told that what they
 * heard does not go on.
 */
export class RedisReader {
  readonly #link: RedisLink;
  readonly #listener: ReaderListener;
  readonly #wake: (id: number) => Promise<boolean>;
  readonly #logs = new Map<string, FollowedLog>();
  #isReading = false;
  #isClosed = false;
  /** The connection on which every log was verified since it was opened. */
  #verified: RedisConnection | undefined;
  #verifiedAt = 0;
  #isDoubtful = false;
  /** The id by which this connection can be woken while it waits; undefined where it cannot. */
  #clientId: number | undefined;
  #rounds = 0;
  #isHeldUp = false;
  #entries = MOST_ENTRIES;

  /**
   * @param wake has Redis let a blocked client go on, by another connection; resolves with whether it was blocked
   */
  constructor(link: RedisLink, listener: ReaderListener, wake: (id: number) => Promise<boolean>) {
    this.#link = link;
    this.#listener = listener;
    this.#wake = wake;
  }

  /** Whether it waits for those who follow. */
  get isHeldUp(): boolean {
    return this.#isHeldUp;
  }

  get(keys: LogKeys): FollowedLog | undefined {
    return this.#logs.get(keys.events);
  }

  /** Reads a log as well, from its head on. */
  add(log: FollowedLog): void {
    this.#logs.set(log.keys.events, log);
    if (this.#isReading) {
      void this.#interrupt();
    } else {
      this.#isReading = true;
      void this.#read();
    }
  }

  /** Leaves it to the next round to read no more of logs that nobody follows. */
  #forgetUnheard(): void {
    for (const [key, { listeners }] of this.#logs) {
      if (listeners.size === 0) {
        this.#logs.delete(key);
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { listeners } of this.#logs.values()) {
      listeners.clear();
    }
    this.#logs.clear();
    this.#link.close();
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      this.#forgetUnheard();
      if (this.#logs.size === 0) {
        break;
      }
      try {
        await this.#round();
      } catch (error) {
        await this.#recover(error instanceof RedisFailure ? error : failureOf(error));
      }
    }
    this.#isReading = false;
  }

  async #round(): Promise<void> {
    const connection = await this.#link.connection();
    if (connection !== this.#verified) {
      this.#clientId = await this.#identify(connection);
    }
    const wasDoubtful = this.#isDoubtful;
    const isDue = performance.now() - this.#verifiedAt >= VERIFY_MS;
    if (connection !== this.#verified || wasDoubtful || isDue) {
      await this.#verify(connection);
      this.#verified = connection;
      this.#listener.onReading();
    }
    const logs = [...this.#logs.values()];
    if (logs.length === 0) {
      return;
    }
    const startedAt = performance.now();
    const blockMs = this.#clientId === undefined ? SHORT_BLOCK_MS : BLOCK_MS;
    const command = ['XREAD', 'COUNT', String(this.#entries), 'BLOCK', String(blockMs), 'STREAMS'];
    const keys = logs.map((log) => log.keys.events);
    const places = logs.map(({ head }) => entryId(head));
    const reply = await this.#link.sendOn(connection, [...command, ...keys, ...places], READ_TIMEOUT_MS);
    this.#rounds += 1;
    const streams = streamsOf(reply);
    if (streams.length === 0) {
      // Nothing came: either nothing happened, or something that no read shows. One that was woken says neither.
      this.#isDoubtful = performance.now() - startedAt >= BLOCK_MS / 2;
    }
    this.#limit(streams.flatMap(([, entries]) => entries));
    const busy = streams.flatMap(([key, entries]) => {
      const log = this.#logs.get(key);
      return (log && this.#take(log, entries)) ?? [];
    });
    if (busy.length > 0) {
      this.#isHeldUp = true;
      await Promise.all(busy).finally(() => (this.#isHeldUp = false));
    }
    if (wasDoubtful && this.#isDoubtful && streams.length > 0) {
      // What comes does not fit, and Redis says that all is well: somebody has written to the keys by hand.
      await this.#link.pause(BLOCK_MS / 4);
    }
  }

  /** @returns what those who follow want to be waited for */
  #take(log: FollowedLog, entries: readonly RedisEntry[]): Promise<unknown> | undefined {
    const next: LogRecord[] = [];
    let { sequence, nonce } = log.head;
    for (const { record, previous } of entries) {
      if (record.sequence !== sequence + 1 || previous !== nonce) {
        this.#isDoubtful = true;
        break;
      }
      next.push(record);
      ({ sequence, nonce } = record);
    }
    if (next.length > 0) {
      log.head = { epoch: log.head.epoch, sequence, nonce };
      return log.listeners.tell(next);
    }
    return undefined;
  }

  /** So that a reply stays within some megabytes, where events are large. */
  #limit(entries: readonly RedisEntry[]): void {
    if (entries.length > 0) {
      const bytes = entries.reduce((sum, { record }) => sum + record.data.length, 0);
      const fitting = Math.floor(REPLY_BYTES / (bytes / entries.length + 1));
      this.#entries = Math.min(MOST_ENTRIES, Math.max(LEAST_ENTRIES, fitting));
    }
  }

  /** Asks whether each log still stands where it was left, and resets those that do not. */
  async #verify(connection: RedisConnection): Promise<void> {
    const logs = [...this.#logs.values()];
    const keys = logs.flatMap((log) => [log.keys.events, log.keys.meta]);
    const args = logs.flatMap(({ isNamed, head }) => [isNamed ? '' : newEpoch(), String(head.sequence)]);
    // On the reading connection itself: another one may see another server.
    const reply = await this.#link.runOn(connection, VERIFY, keys, args);
    for (const [index, place] of placesOf(reply).entries()) {
      const log = logs[index]!;
      if (this.#logs.get(log.keys.events) === log) {
        await this.#judge(connection, log, place);
      }
    }
    this.#verifiedAt = performance.now();
    this.#isDoubtful = false;
  }

  async #judge(connection: RedisConnection, log: FollowedLog, place: RedisPlace): Promise<void> {
    if (!place.head || (log.isNamed && place.head.epoch !== log.head.epoch)) {
      this.#logs.delete(log.keys.events);
      log.listeners.reset({ epoch: newEpoch(), sequence: 0, nonce: NO_NONCE }, 'epoch');
      log.listeners.clear();
      return;
    }
    const reason = reasonAgainst(log.head, place, place.head);
    if (reason) {
      const hasLost = reason === 'diverged' || reason === 'regressed';
      log.head = hasLost && !log.isNamed ? await this.#replaceEpoch(connection, log) : place.head;
      log.listeners.reset(log.head, reason);
    }
  }

  /**
   * Events that were acknowledged are gone. Whoever has heard them knows; whoever has not, on an instance
   * that was cut off when they came, would go on as if they had never been. Another epoch tells everyone.
   */
  async #replaceEpoch(connection: RedisConnection, { keys, head }: FollowedLog): Promise<LogHead> {
    const reply = await this.#link.runOn(connection, REPLACE_EPOCH, [keys.meta], [head.epoch, newEpoch()]);
    const [epoch, sequence, nonce] = reply as [string | null, string | null, string | null];
    if (epoch === null || sequence === null || nonce === null) {
      throw new RedisFailure('The log is gone', { reply: 'TRYAGAIN', mayHaveRun: false });
    }
    return headOf(epoch, sequence, nonce);
  }

  async #identify(connection: RedisConnection): Promise<number | undefined> {
    if (!connection.isOneServer) {
      return undefined;
    }
    try {
      return Number(await this.#link.sendOn(connection, ['CLIENT', 'ID']));
    } catch (error) {
      if (error instanceof RedisFailure && error.reply !== undefined && !error.isOfConnection) {
        // A user without the right to it reads in shorter rounds.
        return undefined;
      }
      throw error;
    }
  }

  /** Ends a read that waits, so that the next one reads of a log that has come. */
  async #interrupt(): Promise<void> {
    const round = this.#rounds;
    while (round === this.#rounds && this.#clientId !== undefined) {
      try {
        if (await this.#wake(this.#clientId)) {
          return;
        }
      } catch (error) {
        // What waits ends by itself. Where it may not be woken, rounds are short from here on.
        if (error instanceof RedisFailure && error.reply !== undefined) {
          this.#clientId = undefined;
        }
        return;
      }
      // The read has been sent, and has not got there yet.
      await this.#link.pause(WAKE_AGAIN_MS);
    }
  }

  async #recover(failure: RedisFailure): Promise<void> {
    this.#rounds += 1;
    if (this.#isClosed || failure.reply === 'UNBLOCKED') {
      return;
    }
    this.#isDoubtful = true;
    this.#listener.onFailure(failure);
    if (failure.reply !== undefined) {
      // An answer, and no connection that was lost: the link does not wait before the next.
      await this.#link.pause(BLOCK_MS / 4);
    }
  }

  /** Reads on another connection: on this one nothing comes. */
  reconnect(): void {
    this.#link.drop();
  }
}

/** Why what was read does not go on at a place; undefined where it does. */
function reasonAgainst(
  { epoch, sequence, nonce }: LogHead,
  { next }: RedisPlace,
  head: LogHead,
): LossReason | undefined {
  if (head.epoch !== epoch) {
    return 'epoch';
  }
  if (head.sequence < sequence) {
    return 'regressed';
  }
  if (head.sequence === sequence) {
    return head.nonce === nonce ? undefined : 'diverged';
  }
  if (next?.sequence === sequence) {
    return next.nonce === nonce ? undefined : 'diverged';
  }
  if (next?.sequence === sequence + 1) {
    return next.previous === nonce ? undefined : 'diverged';
  }
  return 'trimmed';
}
