import { describe, expect, it } from '@jest/globals';
import { contentOf, findFaults } from './checker.js';
import { Branch } from './history.js';
import type { ChaosHistory, ClientRecord, PlainSight, Sent, Sight } from './history.js';
import type { Wish } from '../memory/wish.js';

// A checker that finds nothing in whatever it is given is worth nothing: each fault here must be found, and the
// story without it must pass.

const TEN = 10;
/** After the client has connected, and before what a test adds to what it sees. */
const THEN = { since: 100, seenAt: 120 };
const nonceOf = (sequence: number, mark = 'a') => `${mark.repeat(4)}${String(sequence).padStart(4, '0')}`;
const id = (sequence: number, mark = 'a', epoch = 'e1') =>
  `${epoch}-${sequence}-${sequence === 0 ? '00000000' : nonceOf(sequence, mark)}`;

/** A log of ten events of the topic `a.0`, one client that has got all of them, and what a test changes of that. */
class Story {
  readonly branch = new Branch('e1', { since: 0, seenAt: 0 });
  readonly branches = [this.branch];
  readonly sent = new Map<number, Sent>();
  sights: Sight[] = [];
  wish: Wish = { uid: 1, pattern: 'a.*', filter: false, envelope: false, latest: false, snapshot: 'none' };
  isCleared = false;
  hasLeft = false;
  now = 50;
  limits = { maxEvents: 2_000, maxReplayEvents: 3_000 };

  constructor() {
    for (let n = 1; n <= TEN; n += 1) {
      this.publish(n);
    }
    this.sees({ kind: 'connect', id: undefined, isForged: false }, { kind: 'cursor', id: id(0) });
    for (let n = 1; n <= TEN; n += 1) {
      this.gets(n);
    }
    this.now = 200;
  }

  publish(n: number, { topic = 'a.0', sequence = n, mark = 'a', branch = this.branch } = {}): void {
    branch.add({ sequence, nonce: nonceOf(sequence, mark), n });
    const position = id(sequence, mark, branch.epoch);
    this.sent.set(n, { n, topic, pad: '', outcome: { kind: 'acknowledged', position } });
  }

  /** The log goes back to a sequence, and on with other events. */
  rollBack(sequence: number, ...later: number[]): Branch {
    const shared = [...this.branch.entries.values()].filter((entry) => entry.sequence <= sequence);
    const branch = new Branch('e1', THEN, shared);
    this.branches.push(branch);
    for (const [index, n] of later.entries()) {
      this.publish(n, { sequence: sequence + 1 + index, mark: 'b', branch });
    }
    return branch;
  }

  sees(...sights: PlainSight[]): void {
    this.sights.push(...sights.map((sight) => ({ ...sight, at: this.now })));
  }

  gets(n: number, at = id(n)): void {
    this.sees({ kind: 'event', id: at, data: contentOf(this.sent.get(n)!, false) });
  }

  /** Takes back what the client has seen after a sequence. */
  forget(after: number): void {
    this.sights = this.sights.slice(0, 2 + after);
  }

  comesBack(isForged = false): void {
    this.sees({ kind: 'connect', id: 'whatever', isForged });
  }

  tell(n: number, outcome: Sent['outcome']): void {
    this.sent.get(n)!.outcome = outcome;
  }

  get faults(): string[] {
    const { sights, wish, isCleared, hasLeft, sent, branches, limits } = this;
    const client: ClientRecord = { name: 'Client', wishes: [wish], isCleared, hasLeft, sights };
    const history: ChaosHistory = { sent, branches, clients: [client], limits };
    return findFaults(history);
  }
}

/** The log is lost, another takes an event, and then a copy of the first one is there again. */
function comesBackFromBefore(story: Story): Branch {
  const other = new Branch('e2', THEN);
  story.branches.push(other);
  story.publish(11, { sequence: 1, mark: 'c', branch: other });
  const copy = new Branch('e1', { since: 140, seenAt: 160 }, story.branch.entries.values());
  story.branches.push(copy);
  story.publish(12, { sequence: 11, mark: 'b', branch: copy });
  story.comesBack();
  story.gets(12, id(11, 'b'));
  return copy;
}

const cases: [string, RegExp | undefined, (story: Story) => void][] = [
  ['all of it', undefined, () => undefined],
  [
    'an end before the last event, of a client that has left',
    undefined,
    (story) => {
      story.forget(9);
      story.hasLeft = true;
    },
  ],
  ['an end before the last event', /never got e1-10-/, (story) => story.forget(9)],
  [
    'a copy from before a loss that goes on as if nothing had been',
    /went on at e1-11-bbbb0011 without a reset, past e2-1-cccc0001, which was lost/,
    (story) => comesBackFromBefore(story),
  ],
  [
    'a copy from before a loss, and a reset that tells of it later',
    undefined,
    (story) => {
      const copy = comesBackFromBefore(story);
      story.branches.push(new Branch('e3', { since: 180, seenAt: 190 }, copy.entries.values()));
      story.now = 300;
      story.sees({ kind: 'reset', id: id(11, 'b', 'e3'), reason: 'epoch' });
    },
  ],
  [
    'a copy of the second of three logs, of which a client knows the second',
    /went on at e2-2-bbbb0002 without a reset, past e3-1-dddd0001, which was lost/,
    (story) => {
      const second = new Branch('e2', THEN);
      story.branches.push(second);
      story.publish(11, { sequence: 1, mark: 'c', branch: second });
      story.sees({ kind: 'reset', id: id(1, 'c', 'e2'), reason: 'epoch' });
      const third = new Branch('e3', { since: 220, seenAt: 230 });
      story.branches.push(third);
      story.publish(12, { sequence: 1, mark: 'd', branch: third });
      const first = new Branch('e1', { since: 240, seenAt: 250 }, story.branch.entries.values());
      const again = new Branch('e2', { since: 260, seenAt: 270 }, second.entries.values());
      story.branches.push(first, again);
      story.publish(13, { sequence: 2, mark: 'b', branch: again });
      story.now = 300;
      story.comesBack();
      story.gets(13, id(2, 'b', 'e2'));
    },
  ],
  [
    'a hole',
    /went past a hole after e1-0-00000000 without a reset/,
    (story) => {
      story.publish(12, { sequence: 12 });
      story.branch.holes.push(11);
      story.gets(12);
    },
  ],
  [
    'a reset of a client whose place is a hole',
    undefined,
    (story) => {
      story.branch.holes.push(11);
      story.sees({ kind: 'connect', id: undefined, isForged: false });
      story.sees({ kind: 'cursor', id: 'e1-11-00000007' });
      story.publish(12);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(12), reason: 'trimmed' });
    },
  ],
  [
    'a hole that is told',
    undefined,
    (story) => {
      story.publish(12, { sequence: 12 });
      story.branch.holes.push(11);
      story.sees({ kind: 'reset', id: id(12), reason: 'trimmed' });
    },
  ],
  ['a gap', /missed e1-5-aaaa0005 without a reset/, (story) => story.sights.splice(6, 1)],
  [
    'a gap between two connections',
    /missed e1-9-aaaa0009 without a reset/,
    (story) => {
      story.forget(8);
      story.comesBack();
      story.gets(10);
    },
  ],
  [
    'a gap below a cursor',
    /missed e1-10-aaaa0010 without a reset/,
    (story) => {
      story.forget(9);
      story.sees({ kind: 'cursor', id: id(10) });
    },
  ],
  [
    'a resume, exact',
    undefined,
    (story) => {
      story.forget(8);
      story.comesBack();
      story.gets(9);
      story.gets(10);
    },
  ],
  ['an event twice', /got event 10 twice/, (story) => story.gets(10)],
  ['an event of before', /e1-3-aaaa0003 after e1-10-aaaa0010 without a reset/, (story) => story.gets(3)],
  [
    'an event twice, at two places',
    /Event 10 is in the log twice/,
    (story) => {
      story.branch.add({ sequence: 11, nonce: nonceOf(11), n: 10 });
      story.gets(10, id(11));
    },
  ],
  [
    'a cursor of before',
    /e1-9-aaaa0009 after e1-10-aaaa0010 without a reset/,
    (story) => story.sees({ kind: 'cursor', id: id(9) }),
  ],
  ['a cursor where it stands', undefined, (story) => story.sees({ kind: 'cursor', id: id(10) })],
  [
    'a reset where the log has all',
    /was reset as trimmed from e1-10-aaaa0010 .* though the log had all of it/,
    (story) => story.sees({ kind: 'reset', id: id(10), reason: 'trimmed' }),
  ],
  [
    'a reset that passes over what the log has',
    /was reset as diverged from e1-4-aaaa0004/,
    (story) => {
      story.forget(4);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'diverged' });
    },
  ],
  [
    'a reset past what is replayed',
    undefined,
    (story) => {
      story.limits.maxReplayEvents = 505;
      story.forget(4);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'limit' });
    },
  ],
  [
    'a reset past what the log keeps',
    undefined,
    (story) => {
      story.limits.maxEvents = 505;
      story.forget(4);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'trimmed' });
    },
  ],
  [
    'a reset where the entries were deleted',
    undefined,
    (story) => {
      story.branch.losses.push({ at: 150, upTo: 7 });
      story.forget(7);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'trimmed' });
    },
  ],
  [
    'a reset above entries that were deleted',
    /was reset as trimmed/,
    (story) => {
      story.branch.losses.push({ at: 150, upTo: 7 });
      story.forget(8);
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'trimmed' });
    },
  ],
  [
    'a reset for an id that was forged',
    undefined,
    (story) => {
      story.comesBack(true);
      story.sees({ kind: 'reset', id: id(10), reason: 'invalid' });
    },
  ],
  [
    'a forged id that is taken for one',
    /brought a forged id and got a cursor/,
    (story) => {
      story.comesBack(true);
      story.sees({ kind: 'cursor', id: id(10) });
    },
  ],
  [
    'a log that begins anew, with a reset',
    undefined,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
      story.sees({ kind: 'reset', id: id(0, 'a', 'e2'), reason: 'epoch' });
      story.gets(11, id(1, 'a', 'e2'));
    },
  ],
  [
    'a log that begins anew, without a reset',
    /from e1-10-aaaa0010 to e2-1-aaaa0001 without a reset/,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
      story.gets(11, id(1, 'a', 'e2'));
    },
  ],
  [
    'a log that begins anew, of which it hears nothing',
    /never got what follows e1-10-aaaa0010/,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
    },
  ],
  [
    'a log that goes back, with a reset',
    undefined,
    (story) => {
      story.rollBack(7, 11, 12);
      story.sees({ kind: 'reset', id: id(8, 'b'), reason: 'diverged' });
      story.gets(12, id(9, 'b'));
    },
  ],
  [
    'a log that goes back and on past its place, without a reset',
    /from e1-10-aaaa0010 to e1-11-bbbb0011 without a reset, past what was lost/,
    (story) => {
      story.rollBack(7, 11, 12, 13, 14);
      story.gets(14, id(11, 'b'));
    },
  ],
  [
    'a log that goes back to after its last event, with a reset, while it was there',
    undefined,
    (story) => {
      story.forget(7);
      story.rollBack(7, 11);
      story.sees({ kind: 'reset', id: id(8, 'b'), reason: 'regressed' });
    },
  ],
  [
    'a log that goes back to after its last event, with a reset, when it comes back much later',
    /was reset as diverged from e1-7-aaaa0007/,
    (story) => {
      story.forget(7);
      story.rollBack(7, 11);
      story.now = 20_000;
      story.comesBack();
      story.sees({ kind: 'reset', id: id(8, 'b'), reason: 'diverged' });
    },
  ],
  [
    'a log that begins anew, with a reset to the end of the old one, and then to the new one',
    undefined,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
      story.forget(5);
      story.sees({ kind: 'reset', id: id(10), reason: 'epoch' });
      story.sees({ kind: 'reset', id: id(1, 'a', 'e2'), reason: 'epoch' });
    },
  ],
  ...(
    [
      ['with two masters, a reset from the one to the other', undefined, 180],
      ['a reset to a master that was left long ago', /was reset as epoch from e2-1-aaaa0001 to e1-10/, 9_000],
    ] as const
  ).map(([what, fault, now]): (typeof cases)[number] => [
    what,
    fault,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
      story.sees({ kind: 'reset', id: id(1, 'a', 'e2'), reason: 'epoch' });
      story.now = now;
      story.comesBack();
      story.sees({ kind: 'reset', id: id(10), reason: 'epoch' });
      story.sees({ kind: 'reset', id: id(1, 'a', 'e2'), reason: 'epoch' });
    },
  ]),
  [
    'a log that begins anew, with a second reset by an instance that hears of it later',
    /was reset as epoch from e2-1-aaaa0001 to e2-1-aaaa0001/,
    (story) => {
      const branch = new Branch('e2', THEN);
      story.branches.push(branch);
      story.publish(11, { sequence: 1, branch });
      story.sees({ kind: 'reset', id: id(1, 'a', 'e2'), reason: 'epoch' });
      story.comesBack();
      story.sees({ kind: 'reset', id: id(1, 'a', 'e2'), reason: 'epoch' });
    },
  ],
  [
    'a log that goes back to before its place only, without a reset',
    undefined,
    (story) => {
      story.forget(7);
      story.rollBack(7, 11, 12);
      story.comesBack();
      story.gets(11, id(8, 'b'));
      story.gets(12, id(9, 'b'));
    },
  ],
  [
    'a gap of an event that was lost later',
    /missed e1-8-aaaa0008 without a reset/,
    (story) => {
      story.sights.splice(9, 1);
      story.rollBack(7, 11);
      story.sees({ kind: 'reset', id: id(8, 'b'), reason: 'diverged' });
    },
  ],
  [
    'an event that no log ever held',
    /got e1-11-cccc0011, which no log ever held/,
    (story) => {
      story.publish(11);
      story.tell(11, { kind: 'unknown' });
      story.gets(11, id(11, 'c'));
    },
  ],
  [
    'an event that nobody published',
    /nothing that was published/,
    (story) => {
      story.branch.add({ sequence: 11, nonce: nonceOf(11), n: 99 });
      story.sees({ kind: 'event', id: id(11), data: '{"n":99,"pad":""}' });
    },
  ],
  [
    'another content',
    /got event 10 with another content/,
    (story) => {
      story.forget(9);
      story.sees({ kind: 'event', id: id(10), data: '{"n":10,"pad":"x"}' });
    },
  ],
  [
    'an event in an envelope that was not asked for',
    /with another content/,
    (story) => {
      story.forget(9);
      story.sees({ kind: 'event', id: id(10), data: contentOf(story.sent.get(10)!, true) });
    },
  ],
  [
    'an event that it does not follow',
    /got event 11 of c, which it does not follow/,
    (story) => {
      story.publish(11, { topic: 'c' });
      story.gets(11);
    },
  ],
  ['an event that is none of its', undefined, (story) => story.publish(11, { topic: 'c' })],
  [
    'an event that is forbidden',
    /got event 11 of secret.0, which is forbidden/,
    (story) => {
      story.wish = { ...story.wish, pattern: '>' };
      story.publish(11, { topic: 'secret.0' });
      story.gets(11);
    },
  ],
  [
    'an event that is withheld',
    undefined,
    (story) => {
      story.wish = { ...story.wish, pattern: '>' };
      story.publish(11, { topic: 'secret.0' });
    },
  ],
  [
    'an event that is withheld from one who may have it',
    /never got e1-11-/,
    (story) => {
      story.wish = { ...story.wish, pattern: '>' };
      story.isCleared = true;
      story.publish(11, { topic: 'secret.0' });
    },
  ],
  [
    'an event whose publisher was told that it is nowhere',
    /Event 10 is in the log at e1-10-aaaa0010; its publisher was told that it is not/,
    (story) => story.tell(10, { kind: 'refused' }),
  ],
  [
    'an event of which its publisher does not know',
    undefined,
    (story) => story.tell(10, { kind: 'unknown' }),
  ],
  [
    'a publish without an answer',
    /event 10 was never resolved/,
    (story) => story.tell(10, { kind: 'unresolved' }),
  ],
  [
    'an acknowledgement of what no log had',
    /Event 11 was acknowledged at e1-11-aaaa0011, where no log ever had it/,
    (story) => {
      story.publish(11);
      story.branch.entries.delete(11);
    },
  ],
  ['a first event before a place', /before its place in the log/, (story) => story.sights.splice(1, 1)],
  [
    'an id that is none',
    /got a cursor with the id "abc"/,
    (story) => story.sees({ kind: 'cursor', id: 'abc' }),
  ],
];

describe('the checker', () => {
  it.each(cases.filter(([, fault]) => fault !== undefined))('finds %s', (_name, fault, change) => {
    const story = new Story();
    change(story);
    expect(story.faults.join('\n')).toMatch(fault!);
  });

  it.each(cases.filter(([, fault]) => fault === undefined))(
    'has nothing against %s',
    (_name, _fault, change) => {
      const story = new Story();
      change(story);
      expect(story.faults).toEqual([]);
    },
  );
});
