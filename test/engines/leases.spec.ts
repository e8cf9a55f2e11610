import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import type { EventLogFactory, EventLogStore } from '../../lib/log/index.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNats } from '../support/servers/nats-server.js';
import { startPostgres } from '../support/servers/postgres-server.js';
import { startRedis } from '../support/servers/redis-server.js';

const TTL_MS = 2_000;
const stores: EventLogStore[] = [];

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  await stopServers();
});

/** The whole process stands still, as on a machine that has no time for it. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

interface Server {
  readonly url: string;
  pause(): void | Promise<void>;
  resume(): void;
}

const ENGINES: [
  name: string,
  start: () => Promise<Server>,
  logOn: (url: string, timeoutMs: number) => EventLogFactory,
][] = [
  ['redis()', startRedis, (url, commandTimeoutMs) => redis({ url, commandTimeoutMs })],
  ['nats()', startNats, (servers, publishTimeoutMs) => nats({ servers, publishTimeoutMs })],
  ['postgres()', startPostgres, (url, commandTimeoutMs) => postgres({ url, commandTimeoutMs })],
];

describe.each(ENGINES)(
  'a lease of %s, of a process that stands still past its end',
  (_name, start, logOn) => {
    /** A renewal that has been asked for half way through a lease, and is not answered yet. */
    const underWay = async (timeoutMs = 1_000) => {
      const server = await start();
      const [store, peer] = [logOn(server.url, timeoutMs)(), logOn(server.url, timeoutMs)()];
      stores.push(store, peer);
      const lease = (await store.lease('run', { ttlMs: TTL_MS }))!;
      expect(await peer.lease('run', { ttlMs: TTL_MS })).toBeUndefined();
      await lease.renew();
      standStill(TTL_MS / 2);
      await server.pause();
      for (;;) {
        let isAnswered = false;
        const renewing = lease.renew().finally(() => (isAnswered = true));
        const outcome = Promise.allSettled([renewing]);
        // It is on its way by then. A server may not stop in the very moment in which it is told to.
        for (let turns = 0; turns < 10; turns += 1) {
          await turn();
        }
        if (!isAnswered) {
          return { server, peer, lease, outcome };
        }
      }
    };

    it('goes on where the answer to its renewal waits to be read', async () => {
      const { server, peer, lease, outcome } = await underWay();
      server.resume();
      // Past the end as it was, and past all deadlines of this process; the renewed one has a quarter left.
      standStill((TTL_MS * 3) / 4);
      expect(await outcome).toEqual([{ status: 'fulfilled', value: true }]);
      expect(lease.signal.aborted).toBe(false);
      expect(await lease.renew()).toBe(true);
      expect(await peer.lease('run', { ttlMs: TTL_MS })).toBeUndefined();
      await lease.release();
    });

    it('is over where no answer is there, for others as well', async () => {
      const { server, peer, lease, outcome } = await underWay(10_000);
      standStill((TTL_MS * 3) / 4);
      // All that could be read is read by then.
      for (let turns = 0; turns < 10 && !lease.signal.aborted; turns += 1) {
        await turn();
      }
      expect(lease.signal.aborted).toBe(true);
      server.resume();
      // The server may take the renewal all the same: then the lease is given back.
      expect(await outcome).toEqual([{ status: 'fulfilled', value: false }]);
      expect((await peer.lease('run', { ttlMs: TTL_MS }))!.token).toBeGreaterThan(lease.token);
    });
  },
);
