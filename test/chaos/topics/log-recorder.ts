import { EVENTS, META } from '../../support/servers/redis-keys.js';
import type { RedisCommand, RedisServer } from '../../support/servers/redis-server.js';
import { BranchRecorder } from './branch-recorder.js';
import type { Branch } from './history.js';
import { entryOf, RedisTap } from './redis-tap.js';
import type { Mark } from './redis-tap.js';

type RawEntry = [id: string, fields: string[]];

/**
 * Writes down what the log in Redis holds, entry by entry and past every fault, on a way of its own: it reads the
 * stream, and knows nothing of the engine but its keys. What a server loses before it is looked at, its tap has heard.
 */
export class LogRecorder extends BranchRecorder {
  #server: RedisServer;
  readonly #taps = new Map<RedisServer, RedisTap>();
  /** Servers that were the log, and how it went on there for those that still take them for it. */
  readonly #former = new Map<RedisServer, readonly Branch[]>();
  /** From when on instances may have another server for the log than the one that is looked at. */
  #movesSince: number | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** @param others - servers that may become the log */
  constructor(server: RedisServer, others: readonly RedisServer[] = []) {
    super();
    this.#server = server;
    [server, ...others].forEach((each) => this.#tapOf(each));
  }

  /** Where the log is at present. */
  get server(): RedisServer {
    return this.#server;
  }

  set server(server: RedisServer) {
    if (server !== this.#server) {
      this.#former.set(this.#server, []);
      this.#former.delete(server);
      this.#server = server;
      this.#movesSince = undefined;
      this.#tapOf(server);
    }
  }

  /**
   * Says that a server is about to become the log: what it takes from now on is written down once it is, see
   * {@link server}. Until then the log may be at either.
   */
  expect(server: RedisServer): void {
    this.#former.delete(server);
    this.#movesSince ??= performance.now();
    this.lookedAt = Math.min(this.lookedAt, this.#movesSince);
  }

  /** Resolves when nothing that a server appends from now on can be missed. */
  hears(server: RedisServer): Promise<void> {
    return this.#tapOf(server).hears();
  }

  async stop(): Promise<void> {
    await this.#last;
    await Promise.all(Array.from(this.#taps.values(), (tap) => tap.stop()));
  }

  /**
   * Reads what has come, and has Redis do something in the same breath: nothing is appended between what is written
   * down and what is done.
   *
   * @param afterwards - done at once, each for itself
   */
  look(andThen: RedisCommand[] = [], afterwards: RedisCommand[] = []): Promise<void> {
    const look = this.#last.then(() => this.#look(andThen, afterwards));
    // The caller gets the failure by `look`. The next look only waits for the end.
    this.#last = look.catch(() => undefined);
    return look;
  }

  /** Reads what has come, and holds back what would come after it, for a server that is about to die. */
  async lookLast(): Promise<void> {
    await this.server.command('CLIENT', 'PAUSE', 10_000, 'WRITE');
    await this.look();
  }

  /** Goes on at another server, once all is written down of the one that it was at. */
  moveTo(server: RedisServer): Promise<void> {
    const moved = this.#last.then(() => {
      this.server = server;
    });
    this.#last = moved;
    return moved;
  }

  async #look(andThen: RedisCommand[], afterwards: RedisCommand[]): Promise<void> {
    const startedAt = performance.now();
    const { server } = this;
    const mark = this.#tapOf(server).mark();
    const read: RedisCommand[] = [
      ['ECHO', mark.text],
      ['HMGET', META, 'epoch', 'sequence', 'former'],
      ['XRANGE', EVENTS, '-', '+'],
    ];
    const [, meta, raw] = await server.transaction([...read, ...andThen], afterwards);
    await this.#absorbHeard(server, mark);
    const [epoch, sequence, former] = meta as (string | null)[];
    // What stands past the head is another program's, and of no log.
    const entries = (raw as RawEntry[])
      .map(([id, fields]) => entryOf(id, fields))
      .filter((entry) => entry.sequence <= Number(sequence));
    if (typeof epoch === 'string') {
      // Where two servers were the log for a while, several instances may have replaced its epoch, one after another.
      this.absorbFormer(epochsIn(former ?? ''), Number(sequence), entries);
      this.absorb(epoch, Number(sequence), entries);
    }
    this.lookedAt = Math.min(startedAt, this.#movesSince ?? Infinity);
  }

  async #absorbHeard(server: RedisServer, mark: Mark): Promise<void> {
    for (const [each, late] of this.#former) {
      const appends = await this.#tapOf(each).take();
      // What it took as the log is of the log; what it takes from now on, only of some.
      const isFirst = late.length === 0;
      let line = isFirst ? this.line : late;
      for (const append of appends) {
        line = this.absorbAppend(append, isFirst ? undefined : line);
      }
      this.#former.set(each, [...line]);
    }
    for (const append of await this.#tapOf(server).take(mark)) {
      this.absorbAppend(append);
    }
  }

  #tapOf(server: RedisServer): RedisTap {
    const tap = this.#taps.get(server) ?? new RedisTap(server);
    this.#taps.set(server, tap);
    return tap;
  }
}

/** The former epochs of a log, the oldest first. */
export function epochsIn(former: string): string[] {
  return former
    .split(' ')
    .map((entry) => entry.split(':') as [epoch: string, generation: string])
    .sort(([, one], [, other]) => Number(one) - Number(other))
    .map(([epoch]) => epoch);
}
