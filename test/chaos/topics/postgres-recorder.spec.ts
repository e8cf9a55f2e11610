import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { postgresSchema } from 'nestjs-event-stream/postgres';
import { stopServers } from '../../support/servers/local-server.js';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import { startPostgres } from '../../support/servers/postgres-server.js';
import type { PostgresServer } from '../../support/servers/postgres-server.js';
import { contentOf, findFaults } from './checker.js';
import type { ClientRecord, PlainSight, Sent, Sight } from './history.js';
import { PostgresRecorder } from './postgres-recorder.js';

// Histories in which a log loses events, on real servers, and an engine that goes on as if nothing had been: what a
// client of it gets must be found.

const EPOCH = 'e1';
const START = `${EPOCH}-0-00000000`;
const BEGIN = `insert into sse.logs (log, name, epoch) values ('topics', '', '${EPOCH}')`;
const TRUNCATION = 'truncate sse.logs, sse.events';
const SET_BACK = [
  'update sse.logs l set sequence = 2, nonce = e.nonce from sse.events e where e.log_id = l.id and e.sequence = 2',
  'delete from sse.events where sequence > 2',
];

/** The server that has the log at present. */
let server: PostgresServer;
let recorder: PostgresRecorder;
/** All that was published, in its order, by number. */
let sent: Map<number, Sent>;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => stopServers());
beforeEach(async () => {
  await server.query(`drop schema if exists sse cascade; ${postgresSchema()} ${BEGIN}`);
  sent = new Map();
  recorder = new PostgresRecorder(server);
});
afterEach(() => recorder.stop());

/** Appends the next event, and does no more than that. @returns its id */
async function publish(): Promise<string> {
  const n = sent.size + 1;
  const event: Sent = { n, topic: 'a.0', pad: '', outcome: { kind: 'unknown' } };
  sent.set(n, event);
  const nonce = n.toString(16).padStart(8, '0');
  const [row] = await server.query(
    `with l as (update sse.logs set sequence = sequence + 1, nonce = '${nonce}' returning id, sequence)
     insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
     select id, sequence, 1, 1, '${nonce}', '', 'a.0', $1 from l returning sequence::int`,
    [contentOf(event, false)],
  );
  const position = `${EPOCH}-${row!['sequence'] as number}-${nonce}`;
  event.outcome = { kind: 'acknowledged', position };
  return position;
}

/**
 * What is wrong for a client that has got these events, in their order.
 *
 * @param toldAt - the place that it is reset to before the last of them; undefined if it is told nothing
 */
function faultsOf(ids: readonly string[], toldAt?: string): string[] {
  const events = ids.map((id): PlainSight => {
    const event = sent.get(parseInt(id.slice(-8), 16))!;
    return { kind: 'event', id, data: contentOf(event, false) };
  });
  const plain: PlainSight[] = [
    { kind: 'connect', id: undefined, isForged: false },
    { kind: 'cursor', id: START },
    ...events.slice(0, -1),
    ...(toldAt === undefined ? [] : [{ kind: 'reset', id: toldAt, reason: 'regressed' } as const]),
    ...events.slice(-1),
  ];
  const sights: Sight[] = plain.map((sight) => ({ ...sight, at: performance.now() }));
  const wishes = [
    { uid: 1, pattern: 'a.*', filter: false, envelope: false, latest: false, snapshot: 'none' } as const,
  ];
  const client: ClientRecord = { name: 'It', wishes, isCleared: false, hasLeft: false, sights };
  const limits = { maxEvents: 1_000, maxReplayEvents: 1_000 };
  return findFaults({ sent, branches: recorder.branches, clients: [client], limits });
}

/** How a log loses what is published after `keep`: it goes on from there, or from its start. */
interface Loss {
  keep?(): Promise<unknown>;
  lose(): Promise<unknown>;
  readonly fromStart?: boolean;
}

async function takePlace(of: PostgresServer, by: PostgresServer): Promise<void> {
  await recorder.lookLast();
  await of.stop();
  server = recorder.server = by;
}

let other: PostgresServer;
const LOSSES: readonly (readonly [string, Loss])[] = [
  ['whose row is set back', { lose: () => recorder.look(SET_BACK) }],
  ['that is truncated', { lose: () => recorder.look([TRUNCATION, BEGIN]), fromStart: true }],
  [
    'whose backup is restored',
    {
      keep: () => server.saveBackup(),
      lose: async () => {
        await recorder.lookLast();
        await server.restoreBackup({ onNewTimeline: true });
      },
    },
  ],
  [
    'whose standby is promoted',
    {
      keep: async () => {
        const link = await FaultProxy.start(server.port);
        other = await startPostgres({ standbyOf: link.port });
        await link.stop();
      },
      lose: async () => {
        await takePlace(server, other);
        await other.promote();
      },
    },
  ],
  [
    'whose copy takes its place',
    {
      keep: async () => {
        other = await startPostgres();
        await other.copyDatabase(server);
      },
      lose: () => takePlace(server, other),
    },
  ],
];

describe('a log on PostgreSQL', () => {
  it.each(LOSSES)(
    '%s, has another life, and a client that is told nothing of it is found',
    async (_what, loss) => {
      const ids = [await publish(), await publish()];
      await loss.keep?.();
      ids.push(await publish());
      await loss.lose();
      ids.push(await publish());
      await recorder.look();
      expect(recorder.branches.map(({ last }) => last)).toEqual([3, loss.fromStart ? 1 : 3]);
      expect(recorder.gaps).toEqual([]);
      expect(faultsOf(ids, loss.fromStart ? START : ids[1])).toEqual([]);
      expect(faultsOf(ids).join()).toContain('without a reset');
    },
  );
});
