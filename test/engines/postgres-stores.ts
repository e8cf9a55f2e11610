import { afterEach } from '@jest/globals';
import { postgres } from 'nestjs-event-stream/postgres';
import type { PostgresLogOptions } from 'nestjs-event-stream/postgres';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EngineContext, EventLogStore, NewRecord } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';

export const DEADLINE = { timeoutMs: 20_000 };

const stores: EventLogStore[] = [];

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

/** Opens a store, which is closed after the test. */
export function open(
  options: PostgresLogOptions,
  warn: EngineContext['warn'] = (message) => process.emitWarning(message),
): EventLogStore {
  const store = postgres(options)({ maxEventBytes: 1_048_576, warn });
  stores.push(store);
  return store;
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

export async function follow({ log }: EventLogStore): Promise<Ear> {
  const ear = new Ear();
  await log.follow(ear);
  return ear;
}

export const dataOf = (ear: Ear) => ear.heard.map(({ data }) => Number(data));

export function untilReady(store: EventLogStore): Promise<boolean> {
  return waitFor(() => store.health.state === 'ready', DEADLINE);
}

export function untilReset(ear: Ear, times = 1): Promise<boolean> {
  return waitFor(() => ear.resets.length >= times, DEADLINE);
}
