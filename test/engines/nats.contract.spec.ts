import { afterAll, beforeAll, describe, expect } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { nats } from 'nestjs-event-stream/nats';
import { eventLogContract } from './contract/event-log.contract.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { started } from './started.js';

let server: NatsServer;
let connection: NatsConnection;
let subscriptions: number;
let count = 0;

beforeAll(async () => {
  server = await startNats();
  connection = await connect({ servers: server.url });
  // The connection's own, for answers, comes with the first request and stays.
  await connection.request('$JS.API.INFO');
  subscriptions = subscriptionsOf(connection);
});
afterAll(async () => {
  await connection.close();
  await stopServers();
});

describe('nats() on a connection of its own, and on one of the app’s, as any log', () => {
  eventLogContract({
    start: async () => {
      // A log that nobody has had.
      const log = `contract-${(count += 1)}`;
      const own = nats({ servers: server.url, log })();
      const [store, peer] = await Promise.all([started(own), started(nats({ connection, log })())]);
      return { store, peer };
    },
    stop: async () => {
      expect(connection.isClosed()).toBe(false);
      expect(subscriptionsOf(connection)).toBe(subscriptions);
      expect(statusListenersOf(connection)).toBe(0);
    },
    held: async () => {
      const { streams } = await jetstreamManager(connection);
      const messages: string[] = [];
      for await (const { config, state } of streams.list()) {
        messages.push(`${config.name} ${state.messages}`);
      }
      return messages.sort();
    },
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    ttlMs: 500,
    // It is trimmed by the message, and a message has the 50 of one append.
    mostOfTen: 100,
  });
});

// What a log leaves behind on the app's connection can be seen in its insides alone.
interface Insides {
  readonly protocol: {
    readonly subscriptions: { size(): number };
    readonly listeners: readonly unknown[];
  };
}

function subscriptionsOf(of: NatsConnection): number {
  return (of as unknown as Insides).protocol.subscriptions.size();
}

function statusListenersOf(of: NatsConnection): number {
  return (of as unknown as Insides).protocol.listeners.length;
}
