/** What is published, and who follows it: alike for every server that is compared. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { kinds } from './kinds.js';
import type { KindName } from './kinds.js';

/** Followers of many topics: each topic has as many, and each client as many topics. */
export interface Topics {
  topics: number;
  /** Of one client. */
  perClient: number;
}

export interface Publish {
  /** Turns of the event loop. */
  turns: number;
  /** Events in each turn. */
  burst: number;
  /** Of an event's data, as JSON. */
  bytes: number;
  /** Data as an app has it, of its own length, in place of `bytes` that are all alike. */
  kind?: KindName;
  /** From one turn to the next; without it they follow at once. */
  everyMs?: number;
  /** Whether to a topic that nobody follows. */
  isForNobody?: boolean;
}

/** A client's topics: neighbours, from a place of its own. */
export function topicsOf(client: number, { topics, perClient }: Topics): number[] {
  return Array.from({ length: perClient }, (_, n) => (client * perClient + n) % topics);
}

export interface EventData {
  at: string;
  n: number;
  text: string;
}

/** @param send - publishes to a topic by its number; its promise, if it gives one, is awaited */
export function publishing({ topics }: Topics, send: (data: object, topic: number) => unknown) {
  let published = 0;
  return async ({ turns, burst, bytes, kind, everyMs, isForNobody }: Publish): Promise<void> => {
    const begin = performance.now();
    for (let turn = 0; turn < turns; turn += 1) {
      const sending: unknown[] = [];
      for (let n = 0; n < burst; n += 1) {
        // A large prime: topics that are published to one after the other have no follower in common.
        const topic = isForNobody ? topics : (published * 7_919) % topics;
        const data = kind ? kinds[kind](published) : eventData(published, bytes);
        sending.push(send(data, topic));
        published += 1;
      }
      await Promise.all(sending);
      if (turn < turns - 1) {
        await (everyMs === undefined ? nextTurn() : until(begin + (turn + 1) * everyMs));
      }
    }
  };
}

/**
 * No two of them are alike: a library that keeps what it made of the last one gains nothing. `~` is what the clients
 * count, and after it stands when it was sent, in microseconds of a clock that all processes share.
 */
export function eventData(n: number, bytes: number): EventData {
  const data = { at: `~${process.hrtime.bigint() / 1_000n} `, n, text: '' };
  data.text = 'x'.repeat(bytes - JSON.stringify(data).length);
  return data;
}

/** Evenly spaced, whether or not what came before has been taken. */
export interface Steady {
  events: number;
  perSecond: number;
  bytes: number;
  topic: number;
}

/** As many at a time as are said: the next one when one is done, or all anew when all are done. */
export interface Throughput {
  events: number;
  inFlight: number;
  /** Whether all that are in flight are published in one turn. */
  isOneTurn: boolean;
  bytes: number;
}

/** What publishes to a log on a server of its own, which takes time to answer. */
export function remotePublishing(send: (data: EventData, topic: number) => Promise<unknown>) {
  let published = 0;
  const next = (bytes: number, topic = 0) => send(eventData(published++, bytes), topic);
  return {
    steadily: async ({ events, perSecond, bytes, topic }: Steady): Promise<void> => {
      const sending: Promise<unknown>[] = [];
      await evenly(events, perSecond, () => sending.push(next(bytes, topic)));
      await Promise.all(sending);
    },

    /** Milliseconds. */
    throughput: async ({ events, inFlight, isOneTurn, bytes }: Throughput): Promise<number> => {
      const begin = performance.now();
      if (isOneTurn) {
        for (let turn = 0; turn < events / inFlight; turn += 1) {
          await Promise.all(Array.from({ length: inFlight }, () => next(bytes)));
        }
      } else {
        const oneAfterTheOther = async () => {
          for (let n = 0; n < events / inFlight; n += 1) {
            await next(bytes);
          }
        };
        await Promise.all(Array.from({ length: inFlight }, oneAfterTheOther));
      }
      return performance.now() - begin;
    },
  };
}

/** As fast as it goes, a thousand at a time; resolves with what each resolves with. */
export async function publishAll<T>(events: number, send: (n: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  while (all.length < events) {
    const count = Math.min(1_000, events - all.length);
    all.push(...(await Promise.all(Array.from({ length: count }, (_, n) => send(all.length + n)))));
  }
  return all;
}

/** Calls at even times, less than a millisecond apart: a thread waits for them, as Node's own timers cannot. */
async function evenly(times: number, perSecond: number, call: () => void): Promise<void> {
  const clock = new Worker(
    `const { parentPort, workerData: { times, perSecond } } = require('node:worker_threads');
     const never = new Int32Array(new SharedArrayBuffer(4));
     const begin = performance.now();
     for (let n = 0; n < times; n += 1) {
       Atomics.wait(never, 0, 0, Math.max(0, begin + (n * 1_000) / perSecond - performance.now()));
       parentPort.postMessage(n);
     }`,
    { eval: true, workerData: { times, perSecond } },
  );
  clock.on('message', call);
  await once(clock, 'exit');
}

/** Microseconds from when an event was sent until now, by a clock that all processes share. */
export function delayOf({ at }: EventData): number {
  return Number(process.hrtime.bigint() / 1_000n) - Number(at.slice(1));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function until(time: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, time - performance.now());
  });
}
