import type { Client } from 'pg';
import type { PostgresServer } from '../../support/servers/postgres-server.js';
import { BranchRecorder } from './branch-recorder.js';
import { FOREIGN } from './history.js';
import type { Entry } from './history.js';
import { epochsIn } from './log-recorder.js';

const HEAD = `select id, epoch, sequence::int, former from sse.logs where log = 'topics' and name = ''`;
const EVENTS = `select sequence::int, nonce, data from sse.events where log_id = $1 and sequence between $2 and $3
  order by sequence`;
/** Nothing is appended while it is held. */
const LOCK = 'lock table sse.logs in share row exclusive mode';

/** What is done to a table may wait for an instance that waits for the lock. */
const DEADLOCK = '40P01';

interface Head {
  readonly id: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly former: string;
}

/**
 * Writes down what the log in PostgreSQL holds, event by event and past every fault, on connections of its own: it reads
 * the tables, and knows nothing of the engine but their columns.
 */
export class PostgresRecorder extends BranchRecorder {
  server: PostgresServer;
  #last: Promise<unknown> = Promise.resolve();
  /** The log that was read last, and the sequence up to which it was read. */
  #read = { id: '', epoch: '', upTo: 0 };
  /** Connections that hold a lock until their server is gone. */
  readonly #holding: Client[] = [];

  constructor(server: PostgresServer) {
    super();
    this.server = server;
  }

  /**
   * Reads what has come, and has PostgreSQL do something in the same transaction: nothing is appended between what is
   * written down and what is done.
   */
  look(andThen: readonly string[] = []): Promise<void> {
    return this.#next(async (client) => {
      await this.#look(client, andThen);
      await client.query('commit');
      await client.end();
    });
  }

  /** Reads what has come, and holds back what would come after it, for a server that is about to die. */
  lookLast(): Promise<void> {
    return this.#next(async (client) => {
      await this.#look(client, [LOCK]);
      this.#holding.push(client);
    });
  }

  async stop(): Promise<void> {
    await this.#last;
    await Promise.allSettled(this.#holding.map((client) => client.end()));
  }

  #next(use: (client: Client) => Promise<void>): Promise<void> {
    const look = this.#last.then(async () => {
      for (;;) {
        const client = await this.server.connect();
        try {
          await use(client);
          return;
        } catch (error) {
          await client.end();
          if ((error as { code?: string }).code !== DEADLOCK) {
            throw error;
          }
        }
      }
    });
    // The caller gets the failure by `look`. The next look only waits for the end.
    this.#last = look.catch(() => undefined);
    return look;
  }

  async #look(client: Client, andThen: readonly string[]): Promise<void> {
    const startedAt = performance.now();
    // With a lock each statement must see what was committed before it was given.
    const isolation = andThen.length > 0 ? 'read committed' : 'repeatable read';
    await client.query(`begin isolation level ${isolation}`);
    if (andThen.length > 0) {
      await client.query(LOCK);
    }
    const [head] = (await client.query<Head>(HEAD)).rows;
    if (head) {
      await this.#absorbLog(client, head);
    }
    for (const statement of andThen) {
      await client.query(statement);
    }
    this.lookedAt = startedAt;
  }

  async #absorbLog(client: Client, { id, epoch, sequence, former }: Head): Promise<void> {
    const read = async (from: number, to: number) => {
      const { rows } = await client.query<{ sequence: number; nonce: string; data: string }>(EVENTS, [
        id,
        from,
        to,
      ]);
      return rows.map((row): Entry => ({ sequence: row.sequence, nonce: row.nonce, n: numberIn(row.data) }));
    };
    const known = this.#read;
    const before = this.branches.at(-1)?.entries.get(known.upTo);
    const [anchor] =
      known.id === id && known.epoch === epoch && before ? await read(known.upTo, known.upTo) : [];
    const goesOn = anchor !== undefined && anchor.nonce === before?.nonce && sequence >= known.upTo;
    const entries = await read(goesOn ? known.upTo : 0, sequence);
    const { rows } = await client.query<{ first: number | null }>(
      'select min(sequence)::int as first from sse.events where log_id = $1 and sequence <= $2',
      [id, sequence],
    );
    const first = rows[0]!.first ?? sequence + 1;
    this.absorbFormer(epochsIn(former), sequence, entries, first);
    this.absorb(epoch, sequence, entries, first);
    for (const entry of entries) {
      // To clients it is a hole: they are told as if all up to it was trimmed.
      if (entry.n === FOREIGN && entry.sequence > known.upTo) {
        this.branches.at(-1)!.losses.push({ at: this.lookedAt, upTo: entry.sequence });
      }
    }
    this.#read = { id, epoch, upTo: sequence };
  }
}

/** The number of an event; that of none if another program has written it. */
function numberIn(data: string): number {
  const [, n] = /"n":(\d+)/.exec(data) ?? [];
  return n === undefined ? FOREIGN : Number(n);
}
