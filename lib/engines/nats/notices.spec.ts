import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { NatsContext } from './nats.event-log.js';
import { Notices } from './notices.js';
import type { NatsStream } from './stream.js';

const RUN = { name: 'run:1', epoch: 'e' };
const FORBIDDEN = new Error('Permissions Violation for Publish to "$JS.API.CONSUMER.CREATE"');

/** Notices over a connection whose losses a test makes, and a stream that it lets be read or not. */
const start = async (listeners = 1) => {
  const warnings: string[] = [];
  const connections = new Set<(isConnected: boolean) => void>();
  const closing = new AbortController();
  const stream = { name: 'sse-notices', read: jest.fn(async () => []) };
  const link = {
    connection: { subscribe: () => ({ unsubscribe: () => undefined }), isClosed: () => false },
    onConnection: (listener: (isConnected: boolean) => void) => {
      connections.add(listener);
      return () => void connections.delete(listener);
    },
  };
  const engine = { warn: (message: string) => void warnings.push(message) };
  const context = { link, engine, closed: closing.signal } as unknown as NatsContext;
  const notices = new Notices(context, stream as unknown as NatsStream, 'notices');
  const listening = Array.from({ length: listeners }, () => notices.listen(RUN, () => undefined));
  await Promise.all(listening.map((each) => each.start()));
  stream.read.mockClear();
  const set = (isConnected: boolean) => connections.forEach((listener) => listener(isConnected));
  return { warnings, stream, listening, closing, set };
};

describe('a listener of notices on NATS that cannot read the kept ones after a reconnect', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('says so once, for all listeners, and goes on trying', async () => {
    const { warnings, stream, set } = await start(3);
    stream.read.mockRejectedValue(FORBIDDEN);
    set(false);
    set(true);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(warnings).toEqual([
      `NATS: kept notices of runs in "sse-notices" cannot be read: NATS did not do what the log asked for: ${FORBIDDEN.message}.`,
    ]);
    stream.read.mockClear();
    await jest.advanceTimersByTimeAsync(1_000);
    expect(stream.read).toHaveBeenCalled();
  });

  it('says nothing of a server that refuses for a moment', async () => {
    const { warnings, stream, set } = await start();
    stream.read.mockRejectedValueOnce(FORBIDDEN).mockRejectedValueOnce(FORBIDDEN);
    set(false);
    set(true);
    await jest.advanceTimersByTimeAsync(5_000);
    expect([warnings, stream.read.mock.calls.length]).toEqual([[], 3]);
  });

  it('tries no more often when the connection was lost several times, and not while it is lost', async () => {
    const { stream, set } = await start();
    stream.read.mockRejectedValue(FORBIDDEN);
    for (let n = 0; n < 10; n += 1) {
      set(false);
      set(true);
    }
    await jest.advanceTimersByTimeAsync(1_000);
    stream.read.mockClear();
    await jest.advanceTimersByTimeAsync(1_000);
    expect(stream.read.mock.calls.length).toBeLessThanOrEqual(4);
    set(false);
    stream.read.mockClear();
    await jest.advanceTimersByTimeAsync(1_000);
    expect(stream.read).not.toHaveBeenCalled();
  });

  it('tries no more once it is stopped, or the store is closed', async () => {
    const { stream, listening, closing, set } = await start(2);
    stream.read.mockRejectedValue(FORBIDDEN);
    set(true);
    listening[0]!.stop();
    closing.abort();
    await jest.advanceTimersByTimeAsync(100);
    stream.read.mockClear();
    await jest.advanceTimersByTimeAsync(1_000);
    expect([stream.read.mock.calls.length, jest.getTimerCount()]).toEqual([0, 0]);
  });
});
