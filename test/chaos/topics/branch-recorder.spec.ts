import { describe, expect, it } from '@jest/globals';
import { BranchRecorder } from './branch-recorder.js';
import type { Entry } from './history.js';

/** A log that a test writes down. */
class ScriptedRecorder extends BranchRecorder {
  look(): Promise<void> {
    return Promise.resolve();
  }

  see(epoch: string, entries: readonly Entry[], former: readonly string[] = []): void {
    this.absorbFormer(former, entries.length, entries);
    this.absorb(epoch, entries.length, entries);
  }

  holds(epoch: string, { sequence, nonce }: Entry): boolean {
    return this.branches.some((branch) => branch.holds({ epoch, sequence, nonce }));
  }
}

const entriesTo = (last: number, line = 'a'): Entry[] =>
  Array.from({ length: last }, (_, index) => ({
    sequence: index + 1,
    nonce: `${line}${index + 1}`,
    n: index + 1,
  }));

describe('a recorder of the lives of a log', () => {
  it('knows an epoch that was given up before it was looked at', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    const entries = entriesTo(6);
    recorder.see('three', entries, ['one', 'two']);
    expect(recorder.holds('two', entries[4]!)).toBe(true);
    expect(recorder.holds('two', entriesTo(6, 'b')[4]!)).toBe(false);
    expect(recorder.branches.at(-1)!.epoch).toBe('three');
    expect(recorder.gaps).toEqual([]);
  });

  it('takes no epoch of before what it knows for one', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3), ['zero']);
    recorder.see('two', entriesTo(4), ['zero', 'one']);
    recorder.see('four', entriesTo(5), ['zero', 'elsewhere', 'three']);
    expect([...new Set(recorder.branches.map(({ epoch }) => epoch))]).toEqual(['one', 'two', 'four']);
  });
});
