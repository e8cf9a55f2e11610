import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Expiry } from './expiry.js';

describe('Expiry', () => {
  let expired: number;
  const onExpire = () => (expired += 1);

  beforeEach(() => {
    jest.useFakeTimers();
    expired = 0;
  });
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  it('comes once, after its time and not before', () => {
    const expiry = new Expiry(100, onExpire);
    jest.advanceTimersByTime(99);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
    jest.advanceTimersByTime(1_000);
    expect(expired).toBe(1);
    expiry.cancel();
  });

  it('is put off as often as wanted, with one timer', () => {
    const expiry = new Expiry(100, onExpire);
    for (let n = 0; n < 50; n += 1) {
      jest.advanceTimersByTime(60);
      expiry.putOff();
      expect(jest.getTimerCount()).toBe(1);
    }
    jest.advanceTimersByTime(99);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
  });

  it.each([
    ['a shorter time', 1_000, 100],
    ['a longer time', 100, 1_000],
  ])('takes %s from then on', (_what, ttlMs, next) => {
    const expiry = new Expiry(ttlMs, onExpire);
    jest.advanceTimersByTime(50);
    expiry.putOff(next);
    jest.advanceTimersByTime(next - 1);
    expect(expired).toBe(0);
    expiry.putOff();
    jest.advanceTimersByTime(next - 1);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
  });

  it('does not come when it was cancelled', () => {
    new Expiry(100, onExpire).cancel();
    jest.advanceTimersByTime(1_000);
    expect(expired).toBe(0);
  });

  it('waits for longer than a timer of Node can be', () => {
    const setTimer = jest.spyOn(globalThis, 'setTimeout');
    const expiry = new Expiry(2 ** 31 + 5_000, onExpire);
    jest.advanceTimersByTime(2 ** 31 + 4_999);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
    // Node takes a longer one for a millisecond.
    expect(setTimer.mock.calls.map(([, ms]) => ms)).toEqual([2 ** 31 - 1, 5_001]);
    expiry.cancel();
  });
});

describe('Expiry that reads first', () => {
  const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

  /** Stands still past the end of an expiry that is put off by what has come meanwhile. */
  const putOffInTime = async (options: { readsFirst: boolean }) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [[other]] = await Promise.all([accepted, once(socket, 'connect')]);
    let hasExpired = false;
    const expiry = new Expiry(20, () => (hasExpired = true), options);
    const wasPutOff = once(socket, 'data').then(() => {
      expiry.putOff(60_000);
      return !hasExpired;
    });
    other.write('b');
    standStill(30);
    try {
      return await wasPutOff;
    } finally {
      expiry.cancel();
      socket.destroy();
      other.destroy();
      server.close();
    }
  };

  it('is put off by what has come in time, and is read late', async () => {
    expect(await putOffInTime({ readsFirst: true })).toBe(true);
    expect(await putOffInTime({ readsFirst: false })).toBe(false);
  });

  it('comes where nothing puts it off, and not once it is cancelled', async () => {
    await new Promise<void>((resolve) => void new Expiry(1, resolve, { readsFirst: true }));
    let expired = 0;
    const expiry = new Expiry(1, () => (expired += 1), { readsFirst: true });
    const due = new Promise((resolve) => setTimeout(resolve, 1));
    standStill(5);
    // Both are due in one turn: it has begun to wait by then, for what is yet to be read.
    await due;
    expiry.cancel();
    for (let turns = 0; turns < 5; turns += 1) {
      await new Promise(setImmediate);
    }
    expect(expired).toBe(0);
  });
});
