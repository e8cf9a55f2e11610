import { beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_LIMITS, Limits } from './limits.js';
import { QueuedBytes } from './queued-bytes.js';
import type { QueueingClient } from './queued-bytes.js';

/** A client whose queue a test sets. */
class Client implements QueueingClient {
  readonly keys: readonly string[];
  queuedBytes = 0;
  isClosed = false;

  constructor(...keys: string[]) {
    this.keys = keys;
  }

  closeAsSlow(): void {
    this.isClosed = true;
  }
}

describe('queued bytes', () => {
  let warnings: string[];
  let limits: Limits;
  let queued: QueuedBytes;

  beforeEach(() => {
    warnings = [];
    const ignore = (): void => undefined;
    const warn = (message: string) => void warnings.push(message);
    const settings = { ...DEFAULT_LIMITS, queuedBytesPerKey: 100, queuedBytes: 150 };
    limits = new Limits(settings, { debug: ignore, warn, error: ignore });
    queued = new QueuedBytes(limits);
  });

  const wait = (client: Client, bytes: number) => {
    client.queuedBytes = bytes;
    queued.update(client);
    return client;
  };
  const areClosed = (...clients: Client[]) => clients.map(({ isClosed }) => isClosed);

  it('may be as many as the limit of a key, and no more', () => {
    const [small, large, other] = [wait(new Client('a'), 40), wait(new Client('a'), 60), new Client('b')];
    wait(other, 50);
    expect([...areClosed(small, large, other), queued.of('a'), queued.total]).toEqual([
      false,
      false,
      false,
      100,
      150,
    ]);
    wait(other, 0);

    wait(small, 41);
    expect(areClosed(small, large, other)).toEqual([false, true, false]);
    expect([queued.of('a'), limits.reached.queuedBytesPerKey]).toEqual([41, 1]);
    expect(warnings).toEqual([
      'The key "a" has reached limits.queuedBytesPerKey (100): the client that had most to read was closed.',
    ]);
  });

  it('may be as many as the limit of the process, and no more', () => {
    const clients = [wait(new Client(), 50), wait(new Client('a'), 70), wait(new Client('b'), 30)];
    expect(areClosed(...clients)).toEqual([false, false, false]);

    wait(clients[2]!, 31);
    expect(areClosed(...clients)).toEqual([false, true, false]);
    expect([queued.total, limits.reached.queuedBytes]).toEqual([81, 1]);
    expect(warnings[0]).toContain('More than 150 bytes, which is limits.queuedBytes, wait for clients');
  });

  it('count what is left when a limit is near: a part may have been read', () => {
    const [reading, waiting] = [wait(new Client('a'), 90), new Client('a')];
    reading.queuedBytes = 10;
    wait(waiting, 80);
    expect([...areClosed(reading, waiting), queued.of('a')]).toEqual([false, false, 90]);
  });

  it('are forgotten with their client', () => {
    const client = wait(new Client('a', 'b'), 60);
    expect([queued.of('a'), queued.of('b'), queued.total]).toEqual([60, 60, 60]);
    queued.delete(client);
    expect([queued.of('a'), queued.of('b'), queued.total]).toEqual([0, 0, 0]);
  });

  it('close as many clients as it takes', () => {
    const clients = [wait(new Client('a'), 50), wait(new Client('a'), 49), new Client('a')];
    wait(clients[2]!, 99);
    expect(areClosed(...clients)).toEqual([false, false, true]);
    wait(clients[0]!, 60);
    expect(areClosed(...clients)).toEqual([true, false, true]);
  });
});
