import { EVENTS, META } from '../../support/servers/redis-keys.js';
import type { RedisCommand, RedisServer } from '../../support/servers/redis-server.js';
import { BranchRecorder } from './branch-recorder.js';
import type { Entry } from './history.js';

type RawEntry = [id: string, fields: string[]];

/**
 * Writes down what the log in Redis holds, entry by entry and past every fault, on a way of its own: it reads the
 * stream, and knows nothing of the engine but its two keys.
 */
export class LogRecorder extends BranchRecorder {
  /** Where the log is at present. */
  server: RedisServer;
  #last: Promise<unknown> = Promise.resolve();

  constructor(server: RedisServer) {
    super();
    this.server = server;
  }

  /**
   * Reads what has come, and has Redis do something in the same breath: nothing is appended between what is written
   * down and what is done.
   *
   * @param afterwards - done at once, each for itself
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

  /**
   * Goes on at another server, once all is written down of the one that it was at.
   *
   * @param since - when others may have begun to take it for the log
   */
  moveTo(server: RedisServer, since: number): Promise<void> {
    const moved = this.#last.then(() => {
      this.server = server;
      this.lookedAt = Math.min(this.lookedAt, since);
    });
    this.#last = moved;
    return moved;
  }

  async #look(andThen: RedisCommand[], afterwards: RedisCommand[]): Promise<void> {
    const startedAt = performance.now();
    const [meta, raw] = await this.server.transaction(
      [['HMGET', META, 'epoch', 'sequence', 'former'], ['XRANGE', EVENTS, '-', '+'], ...andThen],
      afterwards,
    );
    const [epoch, sequence, former] = meta as (string | null)[];
    // What stands past the head is another program's, and of no log.
    const entries = (raw as RawEntry[]).map(entryOf).filter((entry) => entry.sequence <= Number(sequence));
    if (typeof epoch === 'string') {
      // Where two servers were the log for a while, several instances may have replaced its epoch, one after another.
      this.absorbFormer(epochsIn(former ?? ''), Number(sequence), entries);
      this.absorb(epoch, Number(sequence), entries);
    }
    this.lookedAt = startedAt;
  }
}

/** The former epochs of a log, the oldest first. */
function epochsIn(former: string): string[] {
  return former
    .split(' ')
    .map((entry) => entry.split(':') as [epoch: string, generation: string])
    .sort(([, one], [, other]) => Number(one) - Number(other))
    .map(([epoch]) => epoch);
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
