import type { RedisCommand, RedisServer } from '../support/redis-server.js';
import { Branch } from './history.js';
import type { Entry } from './history.js';

type RawEntry = [id: string, fields: string[]];

/** The keys of the app's log, as the engine documents them. */
export const EVENTS = '{sse:topics}:events';
export const META = '{sse:topics}:meta';

/**
 * Writes down what the log in Redis holds, entry by entry and past every fault, on a way of its own: it reads the
 * stream, and knows nothing of the engine but its two keys.
 */
export class LogRecorder {
  readonly branches: Branch[] = [];
  /** What it could not write down: with any of it, what clients got cannot be judged. */
  readonly gaps: string[] = [];
  /** Where the log is at present. */
  server: RedisServer;
  #last: Promise<unknown> = Promise.resolve();
  #lookedAt = 0;

  constructor(server: RedisServer) {
    this.server = server;
  }

  get head(): number {
    return this.branches.at(-1)?.last ?? 0;
  }

  /**
   * Reads what has come, and has Redis do something in the same breath: nothing is appended between what is written
   * down and what is done.
   *
   * @param afterwards done at once, each for itself
   */
  look(andThen: RedisCommand[] = [], afterwards: RedisCommand[] = []): Promise<void> {
    const look = this.#last.then(() => this.#look(andThen, afterwards));
    this.#last = look.catch(() => undefined);
    return look;
  }

  /** Reads what has come, and holds back what would come after it, for a server that is about to die. */
  async lookLast(): Promise<void> {
    await this.server.command('CLIENT', 'PAUSE', 10_000, 'WRITE');
    await this.look();
  }

  async #look(andThen: RedisCommand[], afterwards: RedisCommand[]): Promise<void> {
    const startedAt = performance.now();
    const [meta, raw] = await this.server.transaction(
      [['HMGET', META, 'epoch', 'sequence'], ['XRANGE', EVENTS, '-', '+'], ...andThen],
      afterwards,
    );
    const [epoch, sequence] = meta as [string | null, string | null];
    if (epoch !== null) this.#absorb(epoch, Number(sequence), (raw as RawEntry[]).map(entryOf));
    this.#lookedAt = startedAt;
  }

  #absorb(epoch: string, head: number, entries: readonly Entry[]): void {
    const branch = this.branches.at(-1);
    const first = entries[0]?.sequence ?? head + 1;
    if (branch?.epoch !== epoch) {
      const shared = branch ? sharedBy(branch, entries) : [];
      // Where a log has lost events, whoever notices gives it another epoch. What came after the loss, and before anybody
      // noticed, was of the epoch that it had.
      if (branch && shared.length > 0) {
        this.#begin(new Branch(branch.epoch, this.#between, shared), first, entries);
      }
      this.#begin(new Branch(epoch, this.#between, shared), first, entries);
      return;
    }
    const other = entries.find(({ sequence, nonce }) => {
      const known = branch.entries.get(sequence);
      return known && known.nonce !== nonce;
    });
    const goesOnTo = other ? other.sequence - 1 : Math.min(branch.last, head);
    if (goesOnTo < branch.last) {
      const shared = [...branch.entries.values()].filter(({ sequence }) => sequence <= goesOnTo);
      this.#begin(new Branch(epoch, this.#between, shared), first, entries);
      return;
    }
    this.#goOn(branch, first, entries);
  }

  get #between(): { since: number; seenAt: number } {
    return { since: this.#lookedAt, seenAt: performance.now() };
  }

  #begin(branch: Branch, first: number, entries: readonly Entry[]): void {
    this.branches.push(branch);
    this.#goOn(branch, first, entries);
  }

  #goOn(branch: Branch, first: number, entries: readonly Entry[]): void {
    if (first > branch.last + 1) {
      this.gaps.push(
        `Entries ${branch.last + 1} to ${first - 1} of ${branch.epoch} went before they were seen.`,
      );
    }
    if (first - 1 > (branch.losses.at(-1)?.upTo ?? 0)) {
      branch.losses.push({ at: this.#lookedAt, upTo: first - 1 });
    }
    for (const entry of entries) {
      if (entry.sequence > branch.last) branch.add(entry);
    }
  }
}

/** What a branch has up to the last entry that is in the log as well. */
function sharedBy(branch: Branch, entries: readonly Entry[]): Entry[] {
  const last = entries.findLast(({ sequence, nonce }) => branch.entries.get(sequence)?.nonce === nonce);
  return last ? [...branch.entries.values()].filter(({ sequence }) => sequence <= last.sequence) : [];
}

function entryOf([id, fields]: RawEntry): Entry {
  const [sequence, nonce] = id.split('-') as [string, string];
  const data = fields.find((field) => /"n":\d+/.test(field)) ?? '';
  return {
    sequence: Number(sequence),
    nonce: Number(nonce).toString(16).padStart(8, '0'),
    n: Number(/"n":(\d+)/.exec(data)?.[1] ?? Number.NaN),
  };
}
