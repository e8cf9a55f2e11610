import { describe, expect, it } from '@jest/globals';
import { findTrustFaults } from './checker.js';
import type { Disturbance, Presentation, Stay, TrustHistory, Visit } from './history.js';

// A checker that finds nothing in whatever it is given is worth nothing: each fault here must be found, and the
// story without it must pass.

type Change = (story: Story) => void;

/** One ticket, one user who is revoked, and two members, as a test changes them. */
class Story {
  instances = [
    { name: 'a', startedAt: 0 },
    { name: 'b', startedAt: 0 },
    { name: 'late', startedAt: 30_000 },
  ];
  disturbances: Disturbance[] = [];
  presentations: Presentation[] = [present('a', 1_000, 'opened'), present('b', 1_001, 'spent')];
  revocations = [{ user: 'eve', at: 20_000 }];
  visits: Visit[] = [
    { ...visit('a', 10_000, 'admitted'), endedAt: 20_500 },
    visit('b', 21_000, 'refused'),
    visit('late', 40_000, 'refused'),
  ];
  // One member changes to the other instance in time, the other leaves.
  stays: Stay[] = [
    stay('anna', 'a', 1_000, 15_000),
    stay('anna', 'b', 16_000),
    stay('ben', 'b', 1_000, 20_000),
  ];
  changes = [
    { at: 1_100, joined: ['anna', 'ben'], updated: [] as string[], left: [] as string[], count: 2 },
    { at: 23_500, joined: [] as string[], updated: [] as string[], left: ['ben'], count: 1 },
  ];
  lists = [
    { instance: 'a', at: 10_000, members: ['anna', 'ben'] },
    { instance: 'b', at: 40_000, members: ['anna'] },
  ];

  get history(): TrustHistory {
    const { instances, disturbances, presentations, revocations, visits, stays, changes, lists } = this;
    const promises = {
      revokedMs: 1_000,
      writtenBackMs: 2_000,
      graceMs: 3_000,
      leaseMs: 5_000,
      slackMs: 1_000,
    };
    return { promises, instances, disturbances, presentations, revocations, visits, stays, changes, lists };
  }

  changed(change: Change): this {
    change(this);
    return this;
  }
}

const present = (instance: string, at: number, outcome: Presentation['outcome']): Presentation => {
  return { ticket: 't', instance, askedAt: at, answeredAt: at + 5, outcome };
};

const visit = (instance: string, askedAt: number, outcome: Visit['outcome'], isRevocable = true): Visit => {
  return { user: 'eve', instance, isRevocable, askedAt, outcome, endedAt: undefined };
};

const stay = (member: string, instance: string, from: number, endedAt?: number): Stay => {
  return { member, instance, from, seenUntil: endedAt ?? from, endedAt, isKilled: false };
};

/** A restart that keeps all but what was acknowledged a moment before. */
const restart = (at: number, until: number, losesFrom = Infinity): Disturbance => ({
  name: 'restart',
  at,
  until,
  losesFrom,
});

const faultsWith = (change: Change) => findTrustFaults(new Story().changed(change).history);

it('finds nothing in a run in which all is as promised', () => {
  expect(findTrustFaults(new Story().history)).toEqual([]);
});

describe('finds', () => {
  it.each<[what: string, change: Change, told: RegExp]>([
    [
      'a ticket that opens two streams at once',
      ({ presentations }) => (presentations[1] = present('b', 1_001, 'opened')),
      /ticket t opened at a, and then at b/,
    ],
    [
      'a ticket that opens again after a restart that has kept all',
      ({ presentations, disturbances }) => {
        presentations.push(present('b', 9_000, 'opened'));
        disturbances.push(restart(5_000, 6_000));
      },
      /ticket t opened at a, and then at b/,
    ],
    [
      'a ticket that opens again after a failover that lost what came later',
      ({ presentations, disturbances }) => {
        presentations.push(present('b', 9_000, 'opened'));
        disturbances.push(restart(5_000, 6_000, 4_000));
      },
      /ticket t opened at a, and then at b/,
    ],
    [
      'a ticket that opens nothing',
      ({ presentations }) => (presentations[0] = present('a', 1_000, 'spent')),
      /ticket t opened nothing at a and b/,
    ],
    [
      'a revoked user whom an instance admits after the second',
      ({ visits }) => visits.push({ ...visit('b', 22_500, 'admitted', false), endedAt: 22_600 }),
      /eve at b was admitted 2500 ms after/,
    ],
    [
      'a revoked user whom an instance admits that was started later',
      ({ visits }) => visits.push({ ...visit('late', 33_000, 'admitted'), endedAt: 33_100 }),
      /eve at late \(revocable\) was admitted 13000 ms after/,
    ],
    [
      'a revoked user whom a revocable route admits while its instance has no log',
      ({ visits, disturbances }) => {
        disturbances.push(restart(19_000, 60_000));
        visits.push({ ...visit('b', 30_000, 'admitted'), endedAt: 30_100 });
      },
      /eve at b \(revocable\) was admitted 10000 ms after/,
    ],
    [
      'a revoked user whom an instance admits long after the others have written a loss back',
      ({ visits, disturbances }) => {
        disturbances.push(restart(25_000, 31_000, -Infinity));
        visits.push({ ...visit('late', 34_500, 'admitted'), endedAt: 34_600 });
      },
      /eve at late \(revocable\) was admitted 14500 ms after/,
    ],
    [
      'an instance that knew of the revocation and forgets it with the log',
      ({ visits, disturbances }) => {
        disturbances.push(restart(25_000, 31_000, -Infinity));
        visits.push({ ...visit('b', 32_000, 'admitted'), endedAt: 32_100 });
      },
      /eve at b \(revocable\) was admitted 12000 ms after/,
    ],
    [
      'a stream that goes on after its user was revoked',
      ({ visits }) => (visits[0] = visit('a', 10_000, 'admitted')),
      /eve at a \(revocable\) still had its stream/,
    ],
    [
      'a stream that ends too late',
      ({ visits }) => (visits[0] = { ...visits[0]!, endedAt: 22_001 }),
      /still had its stream 2001 ms/,
    ],
    [
      'a member that is told to have left while it is there',
      ({ changes }) => changes.splice(1, 1, { ...changes[1]!, left: ['anna'] }),
      /anna was told to have left after/,
    ],
    [
      'a member that is told to have left, and came back in time',
      ({ changes }) => {
        changes.splice(1, 0, { ...changes[1]!, at: 16_500, left: ['anna'] });
        changes[2] = { ...changes[2]!, joined: ['anna'] };
      },
      /anna was told to have left after 1000 ms/,
    ],
    [
      'a member that is told to have left without the grace',
      ({ changes }) => (changes[1] = { ...changes[1]!, at: 21_000 }),
      /ben was told to have left after 1000 ms/,
    ],
    [
      'a member that is told to have joined at a deploy',
      ({ changes }) => changes.push({ at: 24_000, joined: ['anna'], updated: [], left: [], count: 1 }),
      /anna was told to have joined, and was there/,
    ],
    [
      'a member that is told to be another at a deploy',
      ({ changes }) => changes.push({ at: 24_000, joined: [], updated: ['anna'], left: [], count: 1 }),
      /anna was told to have other data/,
    ],
    [
      'a count that is none',
      ({ changes }) => (changes[1] = { ...changes[1]!, count: 2 }),
      /told 2 members, and there were 1/,
    ],
    [
      'a member that left twice',
      ({ changes }) => changes.push({ ...changes[1]!, at: 24_000 }),
      /ben was told to have left, and was not there/,
    ],
    [
      'a member that an instance does not know',
      ({ lists }) => (lists[1] = { instance: 'b', at: 40_000, members: [] }),
      /At b, anna was missing/,
    ],
    [
      'a member that an instance still knows',
      ({ lists }) => lists.push({ instance: 'a', at: 26_000, members: ['anna', 'ben'] }),
      /At a, ben was still there/,
    ],
    [
      'a member of a killed instance that stays',
      ({ stays, lists }) => {
        stays[2] = { ...stays[2]!, isKilled: true };
        lists.push({ instance: 'a', at: 31_000, members: ['anna', 'ben'] });
      },
      /At a, ben was still there/,
    ],
    [
      'a member that an instance has lost with the log',
      ({ disturbances, lists }) => {
        disturbances.push(restart(35_000, 36_000, -Infinity));
        lists[1] = { instance: 'b', at: 40_000, members: [] };
      },
      /At b, anna was missing/,
    ],
  ])('%s', (_what, change, told) => {
    expect(faultsWith(change)).toEqual([expect.stringMatching(told)]);
  });
});

describe('passes over', () => {
  it.each<[what: string, change: Change]>([
    [
      'a ticket that opens again where the log has lost that it did',
      ({ presentations, disturbances }) => {
        presentations.push(present('b', 9_000, 'opened'));
        disturbances.push(restart(5_000, 6_000, -Infinity));
      },
    ],
    [
      'a ticket that opens nothing while the log is away',
      ({ presentations, disturbances }) => {
        presentations[0] = present('a', 1_000, 'spent');
        disturbances.push(restart(900, 950));
      },
    ],
    [
      'a ticket whose answer was lost',
      ({ presentations }) => (presentations[0] = present('a', 1_000, 'unknown')),
    ],
    [
      'a user who is admitted within the second',
      ({ visits }) => visits.push({ ...visit('b', 20_900, 'admitted'), endedAt: 21_500 }),
    ],
    [
      'a user whom a route admits that is not revocable, while its instance has no log',
      ({ visits, disturbances }) => {
        disturbances.push(restart(19_000, 29_000));
        visits.push({ ...visit('b', 30_000, 'admitted', false), endedAt: 31_000 });
      },
    ],
    [
      'a user whom an instance admits that was started while the log had lost it',
      ({ visits, disturbances }) => {
        disturbances.push(restart(25_000, 31_000, -Infinity));
        visits.push({ ...visit('late', 32_000, 'admitted'), endedAt: 33_000 });
      },
    ],
    [
      'a member of a killed instance, until its lease is over',
      ({ stays, lists }) => {
        stays[2] = { ...stays[2]!, isKilled: true };
        lists.push({ instance: 'a', at: 29_500, members: ['anna', 'ben'] });
      },
    ],
    [
      'a member that is told to have left though it came back, but too late',
      ({ stays, changes }) => {
        stays[1] = stay('anna', 'b', 18_500);
        changes.splice(1, 0, { ...changes[1]!, at: 18_600, left: ['anna'] });
        changes[2] = { ...changes[2]!, joined: ['anna'] };
      },
    ],
    [
      'a member that is told to have left while a process stood still',
      ({ disturbances, changes }) => {
        disturbances.push({ name: 'stall', at: 5_000, until: 14_000, losesFrom: Infinity });
        changes.splice(1, 0, { at: 16_500, joined: [], updated: [], left: ['anna'], count: 1 });
        changes.splice(2, 0, { at: 16_600, joined: ['anna'], updated: [], left: [], count: 2 });
      },
    ],
  ])('%s', (_what, change) => {
    expect(faultsWith(change)).toEqual([]);
  });
});
