import { contradictionOf, ReadSize, reasonAgainst } from '../index.js';
import type { FollowedLog, KnownBefore, LogKnowledge } from '../index.js';
import type { LogHead, LossReason } from '../../log/index.js';
import type { PostgresConnection } from './connections.js';
import { failureOf, PostgresFailure } from './failure.js';
import type { PostgresLink } from './link.js';
import type { Notifications } from './notifications.js';
import { tailsOf } from './replies.js';
import type { SeenLog, TailOfLog } from './replies.js';

/** Where a log is. The app's log gets another id if its row was deleted. */
export interface LogPlace {
  id: string;
  /** The name as it is stored; empty for the app's log. */
  readonly name: string;
}

/** A log that the reader follows. */
export type FollowedPostgresLog = FollowedLog<LogPlace>;

/** The store, as its reader sees it. */
export interface ReaderOptions {
  readonly listener: { onReading(): void; onFailure(failure: PostgresFailure): void };
  readonly knowledge: LogKnowledge;
  readonly notifications: Notifications;
  readonly pollMs: number;
  /** Reads the head of the app's log by the other connection, and begins it if there is none. */
  look(): Promise<SeenLog>;
  /** Gives the app's log a new epoch, if it has the given one still. */
  replaceEpoch(epoch: string, former: string): Promise<SeenLog>;
}

/** How often all logs are read, whether there are notifications or not. */
const POLL_MS = 1_000;
const AGAIN_MS = 250;
/** The pause after reading entries of other programs, so that they cannot keep the reader busy. */
const FOREIGN_MS = 50;
const MOST_LOGS = 500;

/**
 * Reads the tails of all followed logs, on one connection. Each read has the head of the log, the event at the reader's
 * place and the events after it, of one snapshot: so each read verifies the place. If it is lost, the listeners are
 * reset.
 */
export class PostgresReader {
  readonly #link: PostgresLink;
  readonly #options: ReaderOptions;
  readonly #logs = new Map<string, FollowedPostgresLog>();
  /** The ids of logs that may have more. */
  readonly #dirty = new Set<string>();
  #isReading = false;
  #isClosed = false;
  /** The connection that listens, or was found not to. */
  #prepared: PostgresConnection | undefined;
  /** The ids of logs that were not read yet since the connection was opened. */
  readonly #unverified = new Set<string>();
  #hearsNotifications = false;
  #polledAt = 0;
  #isHeldUp = false;
  #wake: (() => void) | undefined;
  readonly #size = new ReadSize();

  constructor(link: PostgresLink, options: ReaderOptions) {
    this.#link = link;
    this.#options = options;
  }

  /** Whether it waits for its listeners. */
  get isHeldUp(): boolean {
    return this.#isHeldUp;
  }

  get(id: string): FollowedPostgresLog | undefined {
    return this.#logs.get(id);
  }

  /** The app's log, if it is followed. */
  get appLog(): FollowedPostgresLog | undefined {
    return [...this.#logs.values()].find(({ isNamed }) => !isNamed);
  }

  /** Adds a log, which is read from its head on. */
  add(log: FollowedPostgresLog): void {
    this.#logs.set(log.keys.id, log);
    this.#mark(log.keys.id);
    if (!this.#isReading) {
      this.#isReading = true;
      void this.#read();
    }
  }

  /** Called when an event was acknowledged to this process. */
  acknowledge(id: string, place: LogHead): void {
    const log = this.#logs.get(id);
    log?.acknowledge(place);
    if (log && (place.sequence > log.head.sequence || log.hasDiverged)) {
      this.#mark(id);
    }
  }

  /** Reads a log soon: it may have more. */
  onMore(id: string): void {
    if (this.#logs.has(id)) {
      this.#mark(id);
    }
  }

  /** Reads on another connection: this one reads from another server, or does not answer. */
  reconnect(): void {
    this.#link.drop();
    this.#wakeUp();
  }

  close(): void {
    this.#isClosed = true;
    for (const { listeners } of this.#logs.values()) {
      listeners.clear();
    }
    this.#logs.clear();
    this.#wakeUp();
    this.#link.close();
  }

  #mark(id: string): void {
    this.#dirty.add(id);
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
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
        await this.#recover(failureOf(error));
      }
    }
    this.#isReading = false;
  }

  #dropUnfollowed(): void {
    for (const [id, { listeners }] of this.#logs) {
      if (listeners.size === 0) {
        this.#logs.delete(id);
      }
    }
  }

  async #round(): Promise<void> {
    const connection = await this.#link.connection();
    if (connection !== this.#prepared) {
      await this.#prepare(connection);
    }
    await this.#untilDue();
    if (this.#link.current !== connection) {
      return;
    }
    this.#markIfPollIsDue();
    const logs = this.#takeDirty();
    if (logs.length > 0) {
      await this.#readTails(connection, logs);
    }
  }

  async #prepare(connection: PostgresConnection): Promise<void> {
    const { notifications } = this.#options;
    this.#hearsNotifications = await notifications.listen(connection, (id) => {
      if (id === undefined) {
        this.#wakeUp();
      } else {
        this.onMore(id);
      }
    });
    this.#prepared = connection;
    this.#polledAt = 0;
    this.#unverified.clear();
    for (const id of this.#logs.keys()) {
      this.#unverified.add(id);
    }
  }

  /** Waits until a log may have more, or all are to be polled. */
  async #untilDue(): Promise<void> {
    const leftMs = this.#polledAt + this.#pollMs - performance.now();
    if (this.#dirty.size > 0 || leftMs <= 0 || this.#isClosed) {
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), leftMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  get #pollMs(): number {
    return this.#hearsNotifications ? POLL_MS : this.#options.pollMs;
  }

  #markIfPollIsDue(): void {
    if (performance.now() - this.#polledAt >= this.#pollMs) {
      this.#polledAt = performance.now();
      for (const id of this.#logs.keys()) {
        this.#dirty.add(id);
      }
    }
  }

  #takeDirty(): FollowedPostgresLog[] {
    const ids = [...this.#dirty].slice(0, MOST_LOGS);
    ids.forEach((id) => this.#dirty.delete(id));
    return ids.map((id) => this.#logs.get(id)).filter((log) => log !== undefined);
  }

  async #readTails(connection: PostgresConnection, logs: readonly FollowedPostgresLog[]): Promise<void> {
    const { ahead } = this.#options.knowledge;
    const asked = logs.map(({ acknowledged, hasDiverged }) => ({ acknowledged, hasDiverged, ahead }));
    const places = JSON.stringify(logs.map(({ keys, head }) => [keys.id, String(head.sequence)]));
    let rows;
    try {
      rows = await this.#link.rowsOn(connection, 'tail', [places, String(this.#size.entries)]);
    } catch (error) {
      logs.forEach(({ keys }) => this.#dirty.add(keys.id));
      throw error;
    }
    const tails = tailsOf(rows, logs.length);
    const asWanted = this.#size.entries;
    this.#size.adjustTo(tails.flatMap((tail) => tail?.entries ?? []));
    const busy: Promise<unknown>[] = [];
    let hasForeign = false;
    for (const [index, log] of logs.entries()) {
      const tail = tails[index];
      const { id } = log.keys;
      if (this.#logs.get(id) !== log) {
        continue;
      }
      const goesOn = await this.#evaluate(connection, log, tail, asked[index]!);
      this.#unverified.delete(id);
      if (!goesOn || !tail) {
        continue;
      }
      const taken = log.take(tail.entries);
      busy.push(...taken.busy);
      hasForeign ||= taken.hasForeign;
      if (taken.isDoubtful || tail.entries.length >= asWanted) {
        this.#dirty.add(id);
      }
    }
    this.#options.listener.onReading();
    await this.#untilFree(busy, hasForeign);
  }

  async #untilFree(busy: readonly Promise<unknown>[], hasForeign: boolean): Promise<void> {
    if (busy.length > 0) {
      this.#isHeldUp = true;
      await Promise.all(busy).finally(() => (this.#isHeldUp = false));
    }
    if (hasForeign) {
      await this.#link.pause(FOREIGN_MS);
    }
  }

  /** Verifies the place in a log, and resets the log if it has lost it. @returns whether the log goes on */
  async #evaluate(
    connection: PostgresConnection,
    log: FollowedPostgresLog,
    tail: TailOfLog | undefined,
    asked: Asked,
  ): Promise<boolean> {
    if (!tail && log.isNamed) {
      this.#logs.delete(log.keys.id);
      log.end();
      return false;
    }
    if (!tail) {
      // Its row is gone: another process, or this call, begins a new log.
      const seen = await this.#options.look();
      this.#refuseOtherDatabase(log, seen.head);
      await this.#reset(log, seen, { reason: 'epoch', mustReplace: false });
      return false;
    }
    const { head, former, anchor, entries } = tail;
    const at = anchor === undefined ? [] : [{ sequence: log.head.sequence, nonce: anchor, previous: '' }];
    const reason = reasonAgainst(log.head, { head, next: [...at, ...entries.slice(0, 1)] });
    const seen = { head, former };
    if (reason !== undefined && reason !== 'epoch') {
      await this.#reset(log, seen, { reason, mustReplace: reason !== 'trimmed' });
      return false;
    }
    const { knowledge } = this.#options;
    const isAllowed = log.isNamed || knowledge.allows(head.epoch, former);
    if (!isAllowed && knowledge.ahead !== asked.ahead) {
      // An event was acknowledged after this request: the answer is too old to contradict it.
      this.#dirty.add(log.keys.id);
      return false;
    }
    const lost = contradictionOf(head, asked, isAllowed);
    if (lost && !this.#unverified.has(log.keys.id)) {
      // An acknowledged event is missing here: this connection may lead to another server.
      this.#link.drop(connection);
      throw new PostgresFailure('The server that is read lacks what was acknowledged', { mayHaveRun: false });
    }
    const loss = reason ?? lost;
    if (loss) {
      await this.#reset(log, seen, { reason: loss, mustReplace: lost !== undefined });
    }
    return loss === undefined;
  }

  /**
   * Replaces the epoch after acknowledged events were lost. An instance that has received them notices the loss; an
   * instance that was cut off would go on as if they had never existed. The new epoch reaches all of them.
   */
  async #reset(
    log: FollowedPostgresLog,
    seen: { head: LogHead; former: string; id?: string },
    { reason, mustReplace }: { reason: LossReason; mustReplace: boolean },
  ): Promise<void> {
    if (log.isNamed) {
      log.reset(seen.head, reason);
      return;
    }
    const { knowledge } = this.#options;
    let { head, former, id } = seen;
    if (mustReplace || !knowledge.allows(head.epoch, former)) {
      ({ head, former, id } = await this.#options.replaceEpoch(
        head.epoch,
        knowledge.formerInPlaceOf(head.epoch, former),
      ));
      this.#refuseOtherDatabase(log, head);
    }
    if (id !== undefined && id !== log.keys.id) {
      this.#logs.delete(log.keys.id);
      log.keys.id = id;
      this.#logs.set(id, log);
    }
    knowledge.follow(head.epoch, former);
    log.reset(head, reason);
  }

  /** @throws PostgresFailure if the connection for commands goes on with the log that this one has not found */
  #refuseOtherDatabase(log: FollowedPostgresLog, { epoch }: LogHead): void {
    if (epoch === log.head.epoch) {
      this.#link.drop();
      throw new PostgresFailure(
        'it leads to another database than publishing, as after a failover: look at listenUrl, if you give it',
        { code: OTHER_DATABASE, mayHaveRun: false },
      );
    }
  }

  async #recover(failure: PostgresFailure): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#polledAt = 0;
    this.#options.listener.onFailure(failure);
    if (!failure.isOfConnection) {
      // The link waits only before it opens a connection.
      await this.#link.pause(AGAIN_MS);
    }
  }
}

/** A code of ours. With it the reader waits before it opens another connection. */
const OTHER_DATABASE = 'SSE03';

/** What was known when a place was asked for. */
interface Asked extends KnownBefore {
  readonly ahead: string | undefined;
}
