import { expect } from '@jest/globals';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import type { TopicsApp } from '../e2e/topics/topics-app.js';

/** The events that a spec of foreign writes publishes: their data is `{"n":1}` to `{"n":ROUNDS}` and on. */
export const ROUNDS = 150;
export const MAX_EVENT_BYTES = 10_000;
export const FRAMES = /^(message|cursor|reset)$/;
const POSITION = /^[0-9a-z]+-\d+-[0-9a-f]{8}$/;

/** Returns the number of an event that the spec has published; NaN for anything else. */
export function numberOf(data: string): number {
  return Number(/^\{"n":(\d+)\}$/.exec(data)?.[1] ?? Number.NaN);
}

/** Returns the number of the newest event of a stream; NaN if it has none. */
export function lastNumber({ events }: SseTestStream): number {
  return numberOf(events.findLast(({ data }) => !Number.isNaN(numberOf(data)))?.data ?? '');
}

/** Collects the numbers of the events that code on the server receives. */
export function watchedBy({ sse }: TopicsApp): number[] {
  const watched: number[] = [];
  sse.events('>').subscribe(({ event }) => {
    const { n } = (event.data ?? {}) as { n?: number };
    if (n !== undefined) {
      watched.push(n);
    }
  });
  return watched;
}

/** Returns the events that a stream misses, or has in another order, without a reset. */
export function silentLosses({ events }: SseTestStream): string[] {
  const losses: string[] = [];
  let last: number | undefined;
  for (const { type, data } of events) {
    if (type === 'reset') {
      last = undefined;
    }
    const n = numberOf(data);
    if (Number.isNaN(n)) {
      continue;
    }
    if (last !== undefined && n !== last + 1) {
      losses.push(`${n} after ${last}`);
    }
    last = n;
  }
  return losses;
}

/** Expects that streams lost nothing in silence and got nothing that another program made up. */
export function expectGenuine(streams: readonly SseTestStream[]): void {
  for (const stream of streams) {
    // The event after the last round is published again until all have it.
    expect(silentLosses(stream).filter((loss) => !loss.startsWith(`${ROUNDS + 1} after`))).toEqual([]);
    expect(stream.events.filter(({ type }) => !FRAMES.test(type))).toEqual([]);
    expect(stream.events.filter(({ id }) => !POSITION.test(id ?? ''))).toEqual([]);
    expect(stream.events.filter(({ data }) => data.length > MAX_EVENT_BYTES)).toEqual([]);
  }
}
