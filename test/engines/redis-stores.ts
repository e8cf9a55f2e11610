import { afterEach } from '@jest/globals';
import { redis } from 'nestjs-event-stream/redis';
import type { RedisLogOptions } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore, NewRecord } from '../../lib/log/index.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { stopServers } from '../support/servers/local-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

export const DEADLINE = { timeoutMs: 20_000 };

const stores: EventLogStore[] = [];
const proxies: FaultProxy[] = [];

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  await stopServers();
});

/** Opens a store, which is closed after the test. */
export function open(port: number, options: RedisLogOptions = {}): EventLogStore {
  return closesAfterTest(redis({ url: `redis://127.0.0.1:${port}`, ...options })());
}

/** Has a store closed after the test, also if the test fails. */
export function closesAfterTest(store: EventLogStore): EventLogStore {
  stores.push(store);
  return store;
}

/** Starts a proxy to a server, which is stopped after the test. */
export async function proxyTo(server: RedisServer): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(server.port);
  proxies.push(proxy);
  return proxy;
}

export function record(data: unknown): NewRecord {
  return { topic: 'a', data: JSON.stringify(data), isJson: true };
}

/** Appends events with these numbers as data, one after another. */
export async function append({ log }: EventLogStore, from: number, to = from): Promise<void> {
  for (let n = from; n <= to; n += 1) {
    await log.append([record(n)]);
  }
}

export function untilReady(store: EventLogStore): Promise<boolean> {
  return waitFor(() => store.health.state === 'ready', DEADLINE);
}
