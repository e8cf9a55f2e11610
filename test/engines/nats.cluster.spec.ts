import { afterEach, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { nats } from 'nestjs-event-stream/nats';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNatsCluster } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';

const DEADLINE = { timeoutMs: 40_000 };
const STREAM = 'sse-topics';
const ROUNDS = 3;

const closings: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closings.splice(0).toReversed()) {
    await close();
  }
  await stopServers();
});

const openOn = (servers: readonly NatsServer[]): EventLogStore => {
  const store = nats({
    servers: servers.map(({ url }) => url),
    replicas: 3,
    startTimeoutMs: 30_000,
    publishTimeoutMs: 10_000,
  })();
  closings.push(() => store.close());
  return store;
};

/** The server that is in charge of the stream. */
const leaderOf = async (servers: readonly NatsServer[]): Promise<NatsServer> => {
  const connection = await connect({ servers: servers.map(({ url }) => url) });
  try {
    const { streams } = await jetstreamManager(connection, { timeout: 2_000, checkAPI: false });
    const name = await waitFor(
      async () => (await streams.info(STREAM).catch(() => undefined))?.cluster?.leader,
      DEADLINE,
    );
    return servers[Number(name.split('-')[1])]!;
  } finally {
    await connection.close();
  }
};

describe('nats(), on three servers with three copies, when the one in charge is killed again and again', () => {
  it('has every event that was acknowledged in one order, or tells that one is lost', async () => {
    const servers = await startNatsCluster();
    const [store, peer] = [openOn(servers), openOn(servers)];
    const ears = [new Ear(), new Ear()];
    await store.log.follow(ears[0]!);
    await peer.log.follow(ears[1]!);
    const acknowledged: number[] = [];
    const failures: string[] = [];
    const appending = { goesOn: true };
    const untilMore = (since: number) =>
      waitFor(() => acknowledged.length > since + 50, {
        ...DEADLINE,
        describe: () =>
          `50 more than ${since}, of ${acknowledged.length}: ${failures.slice(-3).join()}, ${[store, peer].map(({ health }) => health.reason).join()}`,
      });
    const writers = [store, peer].map(async ({ log }, index) => {
      for (let n = index + 1; appending.goesOn; n += 2) {
        try {
          await log.append([{ topic: 'a', data: `${n}`, isJson: true }]);
          acknowledged.push(n);
        } catch (error) {
          failures.push(String(error));
          if ((error as { code?: string }).code === 'closed') {
            return;
          }
        }
      }
    });
    for (let round = 1; round <= ROUNDS; round += 1) {
      await untilMore(acknowledged.length);
      const leader = await leaderOf(servers);
      await leader.kill();
      await untilMore(acknowledged.length);
      await leader.restart();
    }
    appending.goesOn = false;
    await Promise.all(writers);
    for (const [index, ear] of ears.entries()) {
      const { log } = [store, peer][index]!;
      // For a while after an election the cluster answers that it is not there.
      const headOf = () => log.head().catch(() => undefined);
      await waitFor(async () => (await headOf())?.sequence === (ear.heard.at(-1)?.sequence ?? 0), DEADLINE);
      const sequences = ear.heard.map(({ sequence }) => sequence);
      const heard = new Set(ear.heard.map(({ data }) => Number(data)));
      if (ear.resets.length === 0) {
        expect(sequences).toEqual(sequences.map((_each, at) => at + 1));
        expect(acknowledged.filter((n) => !heard.has(n))).toEqual([]);
      }
      expect(new Set(ear.heard.map(({ nonce }) => nonce)).size).toBe(ear.heard.length);
    }
    const [one, other] = await Promise.all([store.log.head(), peer.log.head()]);
    expect(one).toEqual(other);
  }, 180_000);
});
