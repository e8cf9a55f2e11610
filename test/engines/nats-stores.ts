import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node';
import { nats } from 'nestjs-event-stream/nats';
import type { NatsLogOptions } from 'nestjs-event-stream/nats';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLog, EventLogStore, NewRecord } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNats, startNatsIn } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { started } from './started.js';

export const DEADLINE = { timeoutMs: 20_000 };
export const STREAM = 'sse-topics';

const closings: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  // What was opened last hangs on what was opened before it.
  for (const close of closings.splice(0).toReversed()) {
    await close();
  }
  await stopServers();
});

/** Has a function called after the test, before those that were given earlier. */
export function afterTest(close: () => Promise<unknown>): void {
  closings.push(close);
}

/** Opens a store, and waits for its start. It is closed after the test. */
export async function open(port: number, options: NatsLogOptions = {}): Promise<EventLogStore> {
  return started(begin(port, { startTimeoutMs: Infinity, ...options }));
}

/** Opens a store that may not have started yet. It is closed after the test. */
export function begin(port: number, options: NatsLogOptions = {}): EventLogStore {
  return closesAfterTest(nats({ servers: `127.0.0.1:${port}`, ...options })());
}

/** Has a store closed after the test, also if the test fails. */
export function closesAfterTest(store: EventLogStore): EventLogStore {
  afterTest(() => store.close());
  return store;
}

/** Starts a proxy to a server, which is stopped after the test. */
export async function proxyTo(server: NatsServer): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(server.port);
  afterTest(async () => {
    // Node may never close a socket that is reset while it ends.
    await waitFor(() => proxy.connections === 0, DEADLINE);
    await proxy.stop();
  });
  return proxy;
}

/** Connects without the package. The connection is closed after the test. */
export async function connectTo(server: NatsServer, options?: ConnectionOptions): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url, ...options });
  afterTest(() => connection.close());
  return connection;
}

export async function managerOf(server: NatsServer): Promise<JetStreamManager> {
  return jetstreamManager(await connectTo(server, { maxReconnectAttempts: -1, reconnectTimeWait: 100 }));
}

/** A connection that may do anything but delete messages. */
export async function connectWithoutPurge(): Promise<NatsConnection> {
  const config = join(await folderForTest(), 'nats.conf');
  const permissions = 'permissions: { publish: { deny: "$JS.API.STREAM.PURGE.>" } }';
  await writeFile(config, `authorization { users: [{ user: app, password: app, ${permissions} }] }`);
  return connectTo(await startNats({ arguments: ['-c', config] }), { user: 'app', pass: 'app' });
}

/** Starts a server whose files can be kept, and brought back. */
export async function startWithFiles() {
  return startNatsIn(await folderForTest());
}

export function record(data: unknown): NewRecord {
  return { topic: 'a', data: JSON.stringify(data), isJson: true };
}

/** Appends events with these numbers as data, one after another. */
export async function append(log: EventLog, from: number, to = from): Promise<void> {
  for (let n = from; n <= to; n += 1) {
    await log.append([record(n)]);
  }
}

export async function follow(log: EventLog): Promise<Ear> {
  const ear = new Ear();
  await log.follow(ear);
  return ear;
}

export function untilReset(ear: Ear): Promise<boolean> {
  return waitFor(() => ear.resets.length > 0, DEADLINE);
}

async function folderForTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nats-files-'));
  afterTest(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
