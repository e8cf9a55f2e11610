import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DeadlineWheel } from '../../time/index.js';
import { InstanceLeases } from './instance-leases.js';

const [LEASE_MS, GRACE_MS] = [10_000, 5_000];
// The most that an instance waits for another to write it, and a slot of the wheel.
const SPREAD_MS = 1_100;

describe('InstanceLeases', () => {
  let wheel: DeadlineWheel;
  let leases: InstanceLeases;
  let expired: string[];
  let isAway: boolean;

  beforeEach(() => {
    jest.useFakeTimers();
    wheel = new DeadlineWheel();
    expired = [];
    isAway = false;
    // A record that is written at once, and comes back in the turn.
    leases = new InstanceLeases({ leaseMs: LEASE_MS, graceMs: GRACE_MS }, wheel, () => {
      if (!isAway) {
        contact(wheel.now());
      }
    });
    leases.restart();
  });
  afterEach(() => {
    leases.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** A record comes back that this process wrote at a time. */
  const contact = (at: number) => void expired.push(...leases.onContact(at));
  const written = () => Array.from(new Set(expired));
  /** Lets time pass in which this process receives its own records, and those of some others. */
  const inContact = (ms: number, ...others: string[]) => {
    for (let left = ms; left > 0; left -= LEASE_MS / 4) {
      const at = wheel.now();
      jest.advanceTimersByTime(Math.min(left, LEASE_MS / 4));
      others.forEach((by) => leases.renew(by));
      contact(Math.max(at, wheel.now() - 10));
    }
  };

  it('end an instance that is silent for a lease, and a grace later', () => {
    leases.renew('silent');
    leases.renew('other');
    inContact(LEASE_MS / 2 + GRACE_MS, 'other');
    expect(expired).toEqual([]);
    inContact(LEASE_MS / 2 + SPREAD_MS, 'other');
    expect(written()).toEqual(['silent']);
  });

  it('keep one that speaks within the grace', () => {
    leases.renew('late');
    inContact(LEASE_MS);
    leases.renew('late');
    inContact(GRACE_MS + SPREAD_MS, 'late');
    expect(expired).toEqual([]);
  });

  it('end one that closes after the grace, unless it speaks again', () => {
    leases.renew('gone');
    leases.renew('back');
    leases.part('gone');
    leases.part('back');
    leases.part('unknown');
    inContact(GRACE_MS - 10, 'back');
    expect(expired).toEqual([]);
    inContact(SPREAD_MS, 'back');
    expect(written()).toEqual(['gone']);
  });

  it('count no time in which the log was away, or this process stood still', () => {
    leases.renew('other');
    inContact(LEASE_MS / 2);
    jest.advanceTimersByTime(10 * LEASE_MS);
    expect(leases.isInContact).toBe(false);
    leases.onContact(wheel.now());
    expect(leases.isInContact).toBe(true);
    jest.advanceTimersByTime(LEASE_MS / 4);
    inContact(LEASE_MS / 4 + GRACE_MS);
    expect(expired).toEqual([]);
    inContact(LEASE_MS / 2 + SPREAD_MS);
    expect(written()).toEqual(['other']);
  });

  it.each(['fails', 'takes seconds'])('begin the grace anew after an append that %s', (what) => {
    leases.renew('gone');
    leases.renew('other');
    leases.part('gone');
    inContact(GRACE_MS - 1_000, 'other');
    isAway = true;
    const writtenAt = wheel.now();
    jest.advanceTimersByTime(LEASE_MS / 4 + 100);
    leases.renew('other');
    if (what === 'fails') {
      leases.onAway();
      contact(writtenAt);
      jest.advanceTimersByTime(100);
      contact(wheel.now() - 10);
    } else {
      contact(writtenAt);
    }
    isAway = false;
    inContact(GRACE_MS - 10, 'other');
    expect(expired).toEqual([]);
    inContact(SPREAD_MS + 10, 'other');
    expect(written()).toEqual(['gone']);
  });

  it('call again while an instance is silent and no other one has written it off', () => {
    leases.renew('silent');
    inContact(2 * (LEASE_MS + GRACE_MS + SPREAD_MS));
    expect(expired.length).toBeGreaterThan(1);
    leases.delete('silent');
    inContact(2 * (LEASE_MS + GRACE_MS + SPREAD_MS));
    expect(new Set(expired)).toEqual(new Set(['silent']));
  });
});
