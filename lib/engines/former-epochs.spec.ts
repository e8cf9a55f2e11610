import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { FormerEpochs } from './former-epochs.js';

/** A log, or a copy of one: its epoch, and those that it knows to be given up. */
interface Copy {
  epoch: string;
  former: FormerEpochs;
}

/** An instance as the reader is: the epoch that it follows, and those that it has left. */
class Model {
  epoch: string;
  former: FormerEpochs;
  replaced = 0;

  constructor(copy: Copy) {
    ({ epoch: this.epoch, former: this.former } = copy);
  }

  /** @returns whether it has replaced the log's epoch */
  look(log: Copy, newEpoch: () => string): boolean {
    const known = log.epoch === this.epoch ? this.former : this.former.with(this.epoch);
    const isCurrent = !known.has(log.epoch) && log.former.covers(known);
    if (!isCurrent) {
      log.former = known.merge(log.former).with(log.epoch);
      log.epoch = newEpoch();
      this.replaced += 1;
    }
    this.former = known.merge(log.former);
    this.epoch = log.epoch;
    return !isCurrent;
  }
}

describe('The epochs that were given up', () => {
  it('are read as they were written, and garbage is passed over', () => {
    const former = FormerEpochs.NONE.with('a').with('b').with('a');
    expect(String(former)).toBe('a:1 b:2');
    expect(String(FormerEpochs.parse('a:1 b:2'))).toBe('a:1 b:2');
    expect(String(FormerEpochs.parse('x a:1 :: b:2 c:0 d:-1 A:3 e:99999999999999999 a:5\n'))).toBe('a:1 b:2');
    fc.assert(
      fc.property(fc.string({ unit: codePoint }), (text) => {
        expect(FormerEpochs.parse(text).size).toBeLessThanOrEqual(64);
      }),
    );
  });

  it('are bounded: the oldest go, and are not asked for again', () => {
    const names = Array.from({ length: 100 }, (_, n) => `e${n}`);
    const all = names.reduce((former, name) => former.with(name), FormerEpochs.NONE);
    expect(all.size).toBe(64);
    expect([all.has('e99'), all.has('e36'), all.has('e35')]).toEqual([true, true, false]);
    const early = FormerEpochs.NONE.with('e0').with('e1');
    expect(all.covers(early)).toBe(true);
    expect(early.covers(all)).toBe(false);
  });

  it('settle: whatever copies came back, each instance replaces the log once more at most', () => {
    const step = fc.record({
      kind: fc.constantFrom('lose', 'copy', 'restore', 'look', 'restart'),
      n: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 4 }), fc.array(step, { maxLength: 200 }), (count, steps) => {
        let made = 0;
        const newEpoch = () => `e${(made += 1)}`;
        let log: Copy = { epoch: newEpoch(), former: FormerEpochs.NONE };
        const copies: Copy[] = [];
        const instances = Array.from({ length: count }, () => new Model(log));
        for (const { kind, n } of steps) {
          const instance = instances[n % count]!;
          if (kind === 'look') {
            instance.look(log, newEpoch);
          }
          if (kind === 'restart') {
            instances[n % count] = new Model(log);
          }
          if (kind === 'copy') {
            copies.push({ ...log });
          }
          if (kind === 'restore' && copies.length > 0) {
            log = { ...copies[n % copies.length]! };
          }
          // Begun by whichever instance appends first, with what it knows.
          if (kind === 'lose') {
            log = { epoch: newEpoch(), former: instance.former.with(instance.epoch) };
          }
        }
        const known = instances.map(({ epoch, former }) => former.with(epoch));
        let replaced = 0;
        for (let round = 0; round < 3 * count; round += 1) {
          for (const instance of instances) {
            replaced += instance.look(log, newEpoch) ? 1 : 0;
          }
        }
        expect(replaced).toBeLessThanOrEqual(count);
        expect(new Set(instances.map(({ epoch }) => epoch))).toEqual(new Set([log.epoch]));
        // What anybody had left is not what they end at, and is known to the log where there is room.
        for (const each of known) {
          if (each.size < 60) {
            expect(log.former.with(log.epoch).covers(each)).toBe(true);
          }
        }
        for (const instance of instances) {
          expect(instance.look(log, newEpoch)).toBe(false);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('settle after more losses than are kept', () => {
    let made = 0;
    const newEpoch = () => `e${(made += 1)}`;
    const log: Copy = { epoch: newEpoch(), former: FormerEpochs.NONE };
    const instances = Array.from({ length: 3 }, () => new Model(log));
    // Each of them alone with a line of losses that the others never see.
    for (const instance of instances) {
      for (let n = 0; n < 100; n += 1) {
        instance.look({ epoch: newEpoch(), former: FormerEpochs.NONE }, newEpoch);
      }
    }
    let replaced = 0;
    for (let round = 0; round < 100; round += 1) {
      for (const instance of instances) {
        replaced += instance.look(log, newEpoch) ? 1 : 0;
      }
    }
    expect(replaced).toBeLessThanOrEqual(6);
  });
});
