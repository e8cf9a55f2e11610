import { LogListeners, newEpoch } from '../index.js';
import type { LogHead, LogRecord, LossReason } from '../../log/index.js';
import { NO_NONCE } from '../../wire/index.js';
import type { RedisConnection } from './clients.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys } from './keys.js';
import type { RedisKnowledge } from './knowledge.js';
import type { RedisLink } from './link.js';
import { entryId, follows, headOf, placesOf, recordOf, streamsOf } from './replies.js';
import type { EntryRules, RedisEntry, RedisPlace } from './replies.js';
import { REPLACE_EPOCH, VERIFY } from './scripts.js';

/** A log that the reader reads, and how far it has. */
export class FollowedLog {
  readonly keys: LogKeys;
  readonly isNamed: boolean;
  readonly listeners = new LogListeners();
  readonly rules: EntryRules;
  head: LogHead;
  /** The highest place that Redis has acknowledged to this process and that was not read yet. */
  acknowledged: LogHead | undefined;
  /** Whether another record was read where one was acknowledged. */
  hasDiverged = false;

  constructor(keys: LogKeys, isNamed: boolean, { head, rules }: { head: LogHead; rules: EntryRules }) {
    this.keys = keys;
    this.isNamed = isNamed;
    this.head = head;
    this.rules = rules;
  }

  acknowledge(place: LogHead): void {
    const known = this.acknowledged;
    if (place.epoch !== this.head.epoch || (known && known.sequence >= place.sequence)) {
      return;
    }
    if (place.sequence > this.head.sequence) {
      this.acknowledged = place;
    } else if (place.sequence === this.head.sequence && place.nonce !== this.head.nonce) {
      this.hasDiverged = true;
    }
  }

  /** Goes on to a place that was read. */
  goTo(head: LogHead): void {
    this.head = head;
    const known = this.acknowledged;
    if (known && (known.epoch !== head.epoch || known.sequence <= head.sequence)) {
      this.acknowledged = undefined;
    }
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
/** So long the reader rests when it has read what is not of the log: as fast as that is written it may not read. */
const FOREIGN_MS = 50;
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
  readonly #knowledge: RedisKnowledge;
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
  /** Whether the last answer could not be held against what is known: it is asked again. */
  #isUndecided = false;
  /** Whether the last round has brought what is not of the log. */
  #hasForeign = false;
  #entries = MOST_ENTRIES;

  /**
   * @param options.wake - has Redis let a blocked client go on, by another connection; resolves with whether it was
   * blocked
   */
  constructor(
    link: RedisLink,
    options: {
      listener: ReaderListener;
      knowledge: RedisKnowledge;
      wake: (id: number) => Promise<boolean>;
    },
  ) {
    this.#link = link;
    this.#listener = options.listener;
    this.#knowledge = options.knowledge;
    this.#wake = options.wake;
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
    let startedAt = performance.now();
    const isDue = startedAt - this.#verifiedAt >= VERIFY_MS;
    if (connection !== this.#verified || wasDoubtful || isDue) {
      await this.#verify(connection);
      this.#verified = connection;
      this.#listener.onReading();
      startedAt = performance.now();
    }
    const logs = [...this.#logs.values()];
    if (logs.length === 0) {
      return;
    }
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
    this.#limit(streams);
    this.#hasForeign = false;
    const busy = streams.flatMap(([key, entries]) => {
      const log = this.#logs.get(key);
      return log ? this.#take(log, entries) : [];
    });
    if (busy.length > 0) {
      this.#isHeldUp = true;
      await Promise.all(busy).finally(() => (this.#isHeldUp = false));
    }
    if (this.#hasForeign) {
      await this.#link.pause(FOREIGN_MS);
    }
  }

  /** @returns what those who follow want to be waited for */
  #take(log: FollowedLog, entries: readonly RedisEntry[]): Promise<unknown>[] {
    const before: LogRecord[] = [];
    const after: LogRecord[] = [];
    let { head } = log;
    let gap: LogHead | undefined;
    for (const entry of entries) {
      if (!follows(entry, head)) {
        // Another program's entry is passed over. Whether it is one, or ours are missing before it, is asked.
        this.#isDoubtful = true;
        this.#hasForeign = true;
        continue;
      }
      const { sequence, nonce } = entry;
      head = { epoch: head.epoch, sequence, nonce };
      if (log.acknowledged?.sequence === sequence && log.acknowledged.nonce !== nonce) {
        log.hasDiverged = true;
        this.#isDoubtful = true;
      }
      const record = recordOf(entry, log.rules);
      if (record) {
        (gap ? after : before).push(record);
      } else {
        // It has its place in the log and is no event: a hole, which is told once for all of them in this round.
        gap = head;
        after.length = 0;
        this.#hasForeign = true;
      }
    }
    log.goTo(head);
    return [
      before.length > 0 && log.listeners.tell(before),
      gap && log.listeners.reset(gap, 'trimmed'),
      after.length > 0 && log.listeners.tell(after),
    ].filter((one) => one instanceof Promise);
  }

  /** So that a reply stays within some megabytes, where events are large. */
  #limit(streams: readonly (readonly [key: string, entries: readonly RedisEntry[]])[]): void {
    let count = 0;
    let bytes = 0;
    for (const [, entries] of streams) {
      count += entries.length;
      bytes += entries.reduce((sum, entry) => sum + entry.bytes, 0);
    }
    if (count > 0) {
      const fitting = Math.floor(REPLY_BYTES / (bytes / count + 1));
      this.#entries = Math.min(MOST_ENTRIES, Math.max(LEAST_ENTRIES, fitting));
    }
  }

  /** Asks whether each log still stands where it was left, and resets those that do not. */
  async #verify(connection: RedisConnection): Promise<void> {
    const logs = [...this.#logs.values()];
    const asked = logs.map(({ head, acknowledged, hasDiverged }) => ({ head, acknowledged, hasDiverged }));
    const { ahead } = this.#knowledge;
    const keys = logs.flatMap((log) => [log.keys.events, log.keys.meta]);
    const former = this.#knowledge.formerOfNext();
    const args = logs.flatMap(({ isNamed, head }) =>
      isNamed ? ['', String(head.sequence), ''] : [newEpoch(), String(head.sequence), former],
    );
    // On the reading connection itself: another one may see another server.
    const reply = await this.#link.runOn(connection, VERIFY, keys, args);
    this.#isUndecided = false;
    for (const [index, place] of placesOf(reply).entries()) {
      const log = logs[index]!;
      if (this.#logs.get(log.keys.events) === log) {
        await this.#judge(connection, log, place, { ...asked[index]!, ahead });
      }
    }
    this.#verifiedAt = performance.now();
    this.#isDoubtful = this.#isUndecided;
  }

  async #judge(
    connection: RedisConnection,
    log: FollowedLog,
    place: RedisPlace,
    asked: Asked,
  ): Promise<void> {
    const { head } = place;
    if (!head || (log.isNamed && head.epoch !== log.head.epoch)) {
      this.#endNamed(log);
      return;
    }
    if (place.past === 'cleared') {
      this.#hasForeign = true;
      log.rules.check.refuse(
        () => `What stood past the head of ${log.keys.events}`,
        'it does not follow the head',
      );
    }
    const reason = place.past === 'broken' ? 'diverged' : reasonAgainst(log.head, place, head);
    if (reason !== undefined && reason !== 'epoch') {
      await this.#reset(connection, log, { place, reason, mustReplace: reason !== 'trimmed' });
      return;
    }
    const isLacking = lacksAcknowledged(head, asked);
    const isAllowed = log.isNamed || this.#knowledge.allows(head.epoch, place.former);
    if (!isAllowed && this.#knowledge.ahead !== asked.ahead) {
      // It was acknowledged after Redis was asked: this answer is too old to be held against it.
      this.#isUndecided = true;
      return;
    }
    if ((isLacking || !isAllowed || asked.hasDiverged) && connection === this.#verified) {
      // What Redis has acknowledged on the other connection is missing here: this one may lead to another server.
      this.#link.drop(connection);
      throw new RedisFailure('The server that is read lacks what was acknowledged', { mayHaveRun: false });
    }
    if (isLacking || asked.hasDiverged || !isAllowed) {
      const lost = isLacking ? 'regressed' : asked.hasDiverged ? 'diverged' : 'epoch';
      await this.#reset(connection, log, { place, reason: reason ?? lost, mustReplace: true });
    } else if (reason !== undefined) {
      await this.#reset(connection, log, { place, reason, mustReplace: false });
    }
  }

  /** A named log that is no more, or another by now. */
  #endNamed(log: FollowedLog): void {
    this.#logs.delete(log.keys.events);
    log.listeners.reset({ epoch: newEpoch(), sequence: 0, nonce: NO_NONCE }, 'epoch');
    log.listeners.clear();
  }

  /**
   * Events that were acknowledged may be gone. Whoever has heard them knows; whoever has not, on an instance that was
   * cut off when they came, would go on as if they had never been. Another epoch tells everyone.
   */
  async #reset(
    connection: RedisConnection,
    log: FollowedLog,
    { place, reason, mustReplace }: { place: RedisPlace; reason: LossReason; mustReplace: boolean },
  ): Promise<void> {
    let { head, former } = place as RedisPlace & { head: LogHead };
    if (log.isNamed && place.past === 'broken') {
      // Nobody can tell which of the two is the run: it is over, as one that has expired.
      await this.#link.sendOn(connection, ['DEL', log.keys.events, log.keys.meta]);
      this.#endNamed(log);
      return;
    }
    if (mustReplace && !log.isNamed) {
      ({ head, former } = await this.#replaceEpoch(connection, log, place));
    }
    if (!log.isNamed) {
      this.#knowledge.follow(head.epoch, former);
    }
    log.hasDiverged = false;
    log.acknowledged = undefined;
    log.goTo(head);
    log.listeners.reset(head, reason);
  }

  async #replaceEpoch(
    connection: RedisConnection,
    { keys }: FollowedLog,
    { head, former }: RedisPlace,
  ): Promise<{ head: LogHead; former: string }> {
    const { epoch } = head!;
    const args = [epoch, newEpoch(), this.#knowledge.formerInPlaceOf(epoch, former)];
    const reply = await this.#link.runOn(connection, REPLACE_EPOCH, [keys.events, keys.meta], args);
    const [found, sequence, nonce, others] = reply as (string | undefined)[];
    if (found === undefined || (found !== args[1] && !this.#knowledge.allows(found, others!))) {
      throw new RedisFailure('The log has changed meanwhile', { reply: 'TRYAGAIN', mayHaveRun: false });
    }
    return { head: headOf(found, sequence!, nonce!), former: others! };
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

/** What was known of a log when it was asked for its place. */
interface Asked {
  readonly head: LogHead;
  readonly acknowledged: LogHead | undefined;
  readonly hasDiverged: boolean;
  readonly ahead: string | undefined;
}

/** Whether a log lacks what was acknowledged before it was asked. */
function lacksAcknowledged(head: LogHead, { acknowledged }: Asked): boolean {
  if (acknowledged?.epoch !== head.epoch) {
    return false;
  }
  const isOther = head.sequence === acknowledged.sequence && head.nonce !== acknowledged.nonce;
  return head.sequence < acknowledged.sequence || isOther;
}

/** Why what was read does not go on at a place; undefined where it does. */
function reasonAgainst(
  place: LogHead,
  { next: [first, second] }: RedisPlace,
  head: LogHead,
): LossReason | undefined {
  if (head.epoch !== place.epoch) {
    return 'epoch';
  }
  if (head.sequence < place.sequence) {
    return 'regressed';
  }
  if (head.sequence === place.sequence) {
    return head.nonce === place.nonce ? undefined : 'diverged';
  }
  const isAnchor = first?.sequence === place.sequence;
  if (isAnchor && first.nonce !== place.nonce) {
    return 'diverged';
  }
  // The log goes on past the place, so the next one has to be there: whoever waits for it waits in vain.
  const next = isAnchor ? second : first;
  if (next?.sequence !== place.sequence + 1) {
    return 'trimmed';
  }
  return follows(next, place) ? undefined : 'diverged';
}
