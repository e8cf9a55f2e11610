import { contradictionOf, newEpoch, ReadSize, reasonAgainst } from '../index.js';
import type { FollowedLog, KnownBefore, LogKnowledge } from '../index.js';
import type { LogHead, LossReason } from '../../log/index.js';
import type { RedisConnection } from './clients.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys } from './keys.js';
import type { RedisLink } from './link.js';
import { entryId, headOf, placesOf, streamsOf } from './replies.js';
import type { RedisPlace } from './replies.js';
import { REPLACE_EPOCH, VERIFY } from './scripts.js';

/** The owner of the reader. */
export interface ReaderListener {
  /** Called when reading works and the place is valid. */
  onReading(): void;
  onFailure(failure: RedisFailure): void;
}

const BLOCK_MS = 1_000;
// A second longer than the reader blocks. A later reply never comes.
const READ_TIMEOUT_MS = 2_000;
/** The blocking time if a blocked read cannot be woken for a new log. */
const SHORT_BLOCK_MS = 200;
const WAKE_AGAIN_MS = 5;
const VERIFY_MS = 1_000;
/** The pause after reading entries of other programs, so that they cannot keep the reader busy. */
const FOREIGN_MS = 50;

/**
 * Reads the tails of all followed logs, on one connection. Each entry must follow the last one: its sequence is one
 * more, and it holds the nonce of the last. If it does not, and after each reconnect, idle timeout and second under
 * load, the reader verifies its place in the log. If the place is lost, it resets the listeners.
 */
export class RedisReader {
  readonly #link: RedisLink;
  readonly #listener: ReaderListener;
  readonly #knowledge: LogKnowledge;
  readonly #wake: (id: number) => Promise<boolean>;
  readonly #logs = new Map<string, FollowedLog<LogKeys>>();
  #isReading = false;
  #isClosed = false;
  /** The connection on which all logs are verified since it was opened. */
  #verified: RedisConnection | undefined;
  #verifiedAt = 0;
  #isDoubtful = false;
  /** The client id by which this connection can be woken while it blocks; undefined if it cannot. */
  #clientId: number | undefined;
  #rounds = 0;
  #isHeldUp = false;
  /** Whether the last verification was inconclusive and is repeated. */
  #isUndecided = false;
  /** Whether the last round has read entries of other programs. */
  #hasForeign = false;
  readonly #size = new ReadSize();

  /**
   * @param options.wake - unblocks a client by another connection; resolves with whether it was blocked
   */
  constructor(
    link: RedisLink,
    options: {
      listener: ReaderListener;
      knowledge: LogKnowledge;
      wake: (id: number) => Promise<boolean>;
    },
  ) {
    this.#link = link;
    this.#listener = options.listener;
    this.#knowledge = options.knowledge;
    this.#wake = options.wake;
  }

  /** Whether it waits for its listeners. */
  get isHeldUp(): boolean {
    return this.#isHeldUp;
  }

  get(keys: LogKeys): FollowedLog<LogKeys> | undefined {
    return this.#logs.get(keys.events);
  }

  /** Adds a log, which is read from its head on. */
  add(log: FollowedLog<LogKeys>): void {
    this.#logs.set(log.keys.events, log);
    if (this.#isReading) {
      void this.#interrupt();
    } else {
      this.#isReading = true;
      void this.#read();
    }
  }

  /** Drops logs without listeners, so that the next round does not read them. */
  #dropUnfollowed(): void {
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
      this.#dropUnfollowed();
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
    // Appends of this turn are sent first: one wake-up of Redis serves both, and the read has what they add.
    await new Promise((resolve) => setImmediate(resolve));
    const logs = [...this.#logs.values()];
    if (logs.length === 0) {
      return;
    }
    const blockMs = this.#clientId === undefined ? SHORT_BLOCK_MS : BLOCK_MS;
    const command = ['XREAD', 'COUNT', String(this.#size.entries), 'BLOCK', String(blockMs), 'STREAMS'];
    const keys = logs.map((log) => log.keys.events);
    const places = logs.map(({ head }) => entryId(head));
    const reply = await this.#link.sendOn(connection, [...command, ...keys, ...places], READ_TIMEOUT_MS);
    this.#rounds += 1;
    const streams = streamsOf(reply);
    if (streams.length === 0) {
      // No entry: the log is quiet, or something happened that no read shows. After being woken, neither is known.
      this.#isDoubtful = performance.now() - startedAt >= BLOCK_MS / 2;
    }
    this.#size.adjustTo(streams.flatMap(([, entries]) => entries));
    this.#hasForeign = false;
    const busy = streams.flatMap(([key, entries]) => {
      const taken = this.#logs.get(key)?.take(entries);
      this.#isDoubtful ||= taken?.isDoubtful ?? false;
      this.#hasForeign ||= taken?.hasForeign ?? false;
      return taken?.busy ?? [];
    });
    if (busy.length > 0) {
      this.#isHeldUp = true;
      await Promise.all(busy).finally(() => (this.#isHeldUp = false));
    }
    if (this.#hasForeign) {
      await this.#link.pause(FOREIGN_MS);
    }
  }

  /** Verifies the place in each log, and resets logs that have lost it. */
  async #verify(connection: RedisConnection): Promise<void> {
    const logs = [...this.#logs.values()];
    const asked = logs.map(({ acknowledged, hasDiverged }) => ({ acknowledged, hasDiverged }));
    const { ahead } = this.#knowledge;
    const keys = logs.flatMap((log) => [log.keys.events, log.keys.meta]);
    const former = this.#knowledge.formerOfNext();
    const args = logs.flatMap(({ isNamed, head }) =>
      isNamed ? ['', String(head.sequence), ''] : [newEpoch(), String(head.sequence), former],
    );
    // On the reading connection: another one may reach another server.
    const reply = await this.#link.runOn(connection, VERIFY, keys, args);
    this.#isUndecided = false;
    for (const [index, place] of placesOf(reply).entries()) {
      const log = logs[index]!;
      if (this.#logs.get(log.keys.events) === log) {
        await this.#evaluate(connection, log, place, { ...asked[index]!, ahead });
      }
    }
    this.#verifiedAt = performance.now();
    this.#isDoubtful = this.#isUndecided;
  }

  async #evaluate(
    connection: RedisConnection,
    log: FollowedLog<LogKeys>,
    place: RedisPlace,
    asked: Asked,
  ): Promise<void> {
    const { head } = place;
    if (!head || (log.isNamed && head.epoch !== log.head.epoch)) {
      this.#logs.delete(log.keys.events);
      log.end();
      return;
    }
    if (place.past === 'cleared') {
      this.#hasForeign = true;
      log.rules.check.refuse(
        () => `What stood past the head of ${log.keys.events}`,
        'it does not follow the head',
      );
    }
    const reason = place.past === 'broken' ? 'diverged' : reasonAgainst(log.head, { head, next: place.next });
    if (reason !== undefined && reason !== 'epoch') {
      await this.#reset(connection, log, { place, reason, mustReplace: reason !== 'trimmed' });
      return;
    }
    const isAllowed = log.isNamed || this.#knowledge.allows(head.epoch, place.former);
    if (!isAllowed && this.#knowledge.ahead !== asked.ahead) {
      // The event was acknowledged after this request: the answer is too old to contradict it.
      this.#isUndecided = true;
      return;
    }
    const lost = contradictionOf(head, asked, isAllowed);
    if (lost && connection === this.#verified) {
      // An acknowledged event is missing here: this connection may lead to another server.
      this.#link.drop(connection);
      throw new RedisFailure('The server that is read lacks what was acknowledged', { mayHaveRun: false });
    }
    const loss = reason ?? lost;
    if (loss) {
      await this.#reset(connection, log, { place, reason: loss, mustReplace: lost !== undefined });
    }
  }

  /**
   * Replaces the epoch after acknowledged events were lost. An instance that has received them notices the loss; an
   * instance that was cut off would go on as if they had never existed. The new epoch reaches all of them.
   */
  async #reset(
    connection: RedisConnection,
    log: FollowedLog<LogKeys>,
    { place, reason, mustReplace }: { place: RedisPlace; reason: LossReason; mustReplace: boolean },
  ): Promise<void> {
    let { head, former } = place as RedisPlace & { head: LogHead };
    if (log.isNamed && place.past === 'broken') {
      // It is unknown which of the two is the run: it ends, as if it had expired.
      await this.#link.sendOn(connection, ['DEL', log.keys.events, log.keys.meta]);
      this.#logs.delete(log.keys.events);
      log.end();
      return;
    }
    if (mustReplace && !log.isNamed) {
      ({ head, former } = await this.#replaceEpoch(connection, log, place));
    }
    if (!log.isNamed) {
      this.#knowledge.follow(head.epoch, former);
    }
    log.reset(head, reason);
  }

  async #replaceEpoch(
    connection: RedisConnection,
    { keys }: FollowedLog<LogKeys>,
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
        // Without permission to wake, the reader blocks for shorter times.
        return undefined;
      }
      throw error;
    }
  }

  /** Wakes a blocked read, so that the next one includes a new log. */
  async #interrupt(): Promise<void> {
    const round = this.#rounds;
    while (round === this.#rounds && this.#clientId !== undefined) {
      try {
        if (await this.#wake(this.#clientId)) {
          return;
        }
      } catch (error) {
        // The blocked read ends by itself. Without permission to wake, rounds are short from now on.
        if (error instanceof RedisFailure && error.reply !== undefined) {
          this.#clientId = undefined;
        }
        return;
      }
      // The server has not received the blocking read yet, so there was nothing to wake. Try again.
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
      // An error reply, not a lost connection: the link would not wait before the next try.
      await this.#link.pause(BLOCK_MS / 4);
    }
  }

  /** Reads on another connection: this one receives nothing. */
  reconnect(): void {
    this.#link.drop();
  }
}

/** What was known when a place was asked for. */
interface Asked extends KnownBefore {
  readonly ahead: string | undefined;
}
