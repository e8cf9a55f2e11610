import { afterEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { waitFor } from '../testing/index.js';
import { SseClient } from './index.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A server whose log is a row of numbers, each an event; the state is the last of them. */
class CountingServer {
  count = 0;
  /** What was trimmed cannot be replayed. */
  trimmed = 0;
  connections: { stream: ScriptedStream; sent: number }[] = [];

  readonly fetch = async (_url: unknown, { headers }: RequestInit = {}): Promise<Response> => {
    const id = new Headers(headers).get('last-event-id');
    const stream = new ScriptedStream();
    stream.write('retry: 0\n');
    const seen = id === null ? undefined : Number(id.split('-')[1]);
    const connection = { stream, sent: seen ?? this.count };
    if (seen === undefined) {
      stream.write(`event: cursor\ndata: {"snapshots":0}\nid: ${this.#id(this.count)}\n\n`);
    } else if (seen < this.trimmed) {
      stream.write(`event: reset\ndata: {"reason":"trimmed"}\nid: ${this.#id(this.count)}\n\n`);
      connection.sent = this.count;
    }
    this.connections.push(connection);
    this.#deliver();
    return stream.response;
  };

  publish(): void {
    this.count += 1;
    this.#deliver();
  }

  cut(): void {
    this.connections.splice(0).forEach(({ stream }) => stream.fail(new TypeError('cut')));
  }

  get position(): string {
    return this.#id(this.count);
  }

  #deliver(): void {
    for (const connection of this.connections) {
      while (connection.sent < this.count) {
        connection.sent += 1;
        connection.stream.write(`data: ${connection.sent}\nid: ${this.#id(connection.sent)}\n\n`);
      }
    }
  }

  #id(sequence: number): string {
    return `epoch-${sequence}-00000000`;
  }
}

type Step = 'publish' | 'cut' | 'lose' | 'read' | 'answer' | 'fail' | 'turn';
const steps = fc.array(
  fc.constantFrom<Step>('publish', 'publish', 'publish', 'cut', 'lose', 'read', 'answer', 'fail', 'turn'),
  { maxLength: 60 },
);

describe('a state, and what follows it', () => {
  const closers: { close(): void }[] = [];
  afterEach(() => closers.splice(0).forEach((feed) => feed.close()));

  it.each([
    ['exactly once, if the state tells its place', true],
    ['without a hole, if it does not', false],
  ])('comes %s, for any schedule of events, cuts, resets and slow reads', async (_what, tellsPlace) => {
    await fc.assert(
      fc.asyncProperty(steps, async (schedule) => {
        const server = new CountingServer();
        const log: ({ state: number } | number)[] = [];
        /** The readings that the client waits for. */
        let readings: { read?: { data: number; at: string }; settle: (fails: boolean) => void }[] = [];
        const client = new SseClient({ baseUrl: 'http://host/', fetch: server.fetch, retry: { minMs: 0 } });
        const feed = client.follow<{ message: number }, number>('/', undefined, {
          onState: (state) => log.push({ state }),
          state: ({ signal }) =>
            new Promise((resolve, reject) => {
              const reading: (typeof readings)[0] = {
                settle: (fails) => {
                  reading.read ??= { data: server.count, at: server.position };
                  if (fails) {
                    reject(new Error('state is away'));
                  } else {
                    resolve(tellsPlace ? reading.read : reading.read.data);
                  }
                },
              };
              signal.addEventListener('abort', () => reject(new Error('aborted')));
              readings.push(reading);
            }),
        });
        feed.on('message', (n) => log.push(n));
        closers.push(feed);
        const act: Record<Step, () => unknown> = {
          publish: () => server.publish(),
          cut: () => server.cut(),
          // What it misses while it is away is trimmed: only a reset tells.
          lose: () => {
            server.cut();
            server.publish();
            server.publish();
            server.trimmed = server.count;
          },
          read: () => readings.forEach((each) => (each.read ??= { data: server.count, at: server.position })),
          answer: () => readings.splice(0).forEach(({ settle }) => settle(false)),
          fail: () => readings.splice(0).forEach(({ settle }) => settle(true)),
          turn: settled,
        };
        for (const step of schedule) {
          await act[step]();
          await turn();
        }
        // All is well from here on.
        await waitFor(
          () => {
            readings.splice(0).forEach(({ settle }) => settle(false));
            return log.length > 0 && lastOf(log) === server.count;
          },
          { describe: () => `${server.count} events, after ${JSON.stringify(log)}` },
        );
        feed.close();
        readings = [];

        expect(lastOf(log)).toBe(server.count);
        expect(log[0]).toHaveProperty('state');
        let known = 0;
        for (const entry of log) {
          if (typeof entry === 'object') {
            known = entry.state;
          } else {
            // The next of what is known; without a place, also what the state held already.
            expect(tellsPlace ? [known + 1] : [known + 1, ...range(known)]).toContain(entry);
            known = Math.max(known, entry);
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

const range = (to: number) => Array.from({ length: to }, (_, n) => n + 1);

function lastOf(log: readonly ({ state: number } | number)[]): number {
  return log.reduce<number>(
    (known, entry) => Math.max(known, typeof entry === 'object' ? entry.state : entry),
    0,
  );
}
