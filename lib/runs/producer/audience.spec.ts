import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DeadlineWheel } from '../../time/deadline-wheel.js';
import { RunAudience } from './audience.js';
import { RunPresence } from '../client/presence.js';

describe('the audience of a run', () => {
  const left: string[] = [];
  let wheel: DeadlineWheel;
  let audience: RunAudience | undefined;

  beforeEach(() => {
    jest.useFakeTimers();
    wheel = new DeadlineWheel();
    left.length = 0;
  });

  afterEach(() => {
    audience?.close();
    audience = undefined;
    expect(wheel.size).toBe(0);
    jest.useRealTimers();
  });

  const of = (onDisconnect: 'continue' | 'abort', orphanMs: number | undefined) => {
    audience = new RunAudience(
      { onDisconnect, orphanMs },
      { wheel, presenceMs: 1_000, end: (reason) => left.push(reason) },
    );
    return audience;
  };

  it('is empty for orphanMs before the run ends as an orphan, counted from its start', async () => {
    of('continue', 5_000);
    await jest.advanceTimersByTimeAsync(4_900);
    expect(left).toEqual([]);
    await jest.advanceTimersByTimeAsync(300);
    expect(left).toEqual(['orphan']);
  });

  it('keeps the run from ending, with clients here or elsewhere', async () => {
    const here = of('continue', 5_000);
    await jest.advanceTimersByTimeAsync(4_000);
    here.setHere(1);
    await jest.advanceTimersByTimeAsync(10_000);
    here.addInstance('elsewhere');
    here.setHere(0);
    await jest.advanceTimersByTimeAsync(2_000);
    here.addInstance('elsewhere');
    await jest.advanceTimersByTimeAsync(2_000);
    here.removeInstance('elsewhere');
    await jest.advanceTimersByTimeAsync(4_900);
    expect(left).toEqual([]);
    await jest.advanceTimersByTimeAsync(300);
    expect(left).toEqual(['orphan']);
  });

  it('removes an instance that is silent for two and a half intervals', async () => {
    const here = of('abort', undefined);
    here.addInstance('elsewhere');
    await jest.advanceTimersByTimeAsync(2_400);
    expect(left).toEqual([]);
    await jest.advanceTimersByTimeAsync(200);
    expect(left).toEqual(['client']);
  });

  it('ends a run with onDisconnect abort when the last client leaves, and not before the first came', async () => {
    const here = of('abort', undefined);
    await jest.advanceTimersByTimeAsync(100_000);
    here.setHere(2);
    here.setHere(1);
    expect(left).toEqual([]);
    here.setHere(0);
    expect(left).toEqual(['client']);
  });

  it('may be empty for good without orphanMs', async () => {
    const here = of('continue', undefined);
    here.setHere(1);
    here.setHere(0);
    await jest.advanceTimersByTimeAsync(1_000_000);
    expect(left).toEqual([]);
  });
});

describe('the presence of clients', () => {
  it('is told at each change and regularly, but never in quick succession', async () => {
    jest.useFakeTimers();
    const wheel = new DeadlineWheel();
    const told: boolean[] = [];
    const presence = new RunPresence(wheel, 3_000, (hasClients) => told.push(hasClients));
    presence.set(true);
    expect(told).toEqual([true]);
    presence.set(false);
    presence.set(true);
    presence.set(false);
    expect(told).toEqual([true]);
    await jest.advanceTimersByTimeAsync(600);
    expect(told).toEqual([true, false]);
    await jest.advanceTimersByTimeAsync(10_000);
    presence.set(true);
    await jest.advanceTimersByTimeAsync(7_000);
    expect(told).toEqual([true, false, true, true, true]);
    presence.renew();
    await jest.advanceTimersByTimeAsync(600);
    expect(told).toEqual([true, false, true, true, true, true]);
    presence.stop();
    expect(wheel.size).toBe(0);
    jest.useRealTimers();
  });
});
