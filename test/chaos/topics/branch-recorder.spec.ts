import { describe, expect, it } from '@jest/globals';
import { BranchRecorder } from './branch-recorder.js';
import type { Branch, Entry } from './history.js';

/** A log that a test writes down. */
class ScriptedRecorder extends BranchRecorder {
  look(): Promise<void> {
    return Promise.resolve();
  }

  see(epoch: string, entries: readonly Entry[], former: readonly string[] = []): void {
    const head = entries.at(-1)?.sequence ?? 0;
    this.absorbFormer(former, head, entries);
    this.absorb(epoch, head, entries);
  }

  /** What a server has appended; under `late`, one that only some instances still take for the log. */
  hear(
    epoch: string,
    entries: readonly Entry[],
    before?: Entry,
    late?: readonly Branch[],
  ): readonly Branch[] {
    const heard = entries.map((entry, index) => ({
      ...entry,
      previous: (entries[index - 1] ?? before)?.nonce ?? '00000000',
    }));
    return this.absorbAppend({ epoch, entries: heard }, late);
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

const nonceOf = ({ nonce }: Entry) => nonce;

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

  it('knows one that was given up while an append of the next one was heard', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    const entries = entriesTo(4);
    recorder.hear('three', entries.slice(3), entries[2]);
    recorder.see('three', entries, ['one', 'two']);
    expect(recorder.holds('two', entries[2]!)).toBe(true);
    expect(recorder.branches.at(-1)!.epoch).toBe('three');
  });

  it('takes no epoch of before what it knows for one', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3), ['zero']);
    recorder.see('two', entriesTo(4), ['zero', 'one']);
    recorder.see('four', entriesTo(5), ['zero', 'elsewhere', 'three']);
    expect([...new Set(recorder.branches.map(({ epoch }) => epoch))]).toEqual(['one', 'two', 'four']);
  });

  it('knows what was appended and lost between two looks', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    const [, , , four, five] = entriesTo(5);
    recorder.hear('one', [four!, five!], entriesTo(3)[2]);
    const [, , , other] = entriesTo(4, 'b');
    recorder.see('one', [...entriesTo(3), other!]);
    const lives = recorder.branches.map(({ last, entries }) => [last, entries.get(4)?.nonce]);
    expect(lives).toEqual([
      [5, 'a4'],
      [4, 'b4'],
    ]);
  });

  it('knows a life that began and ended between two looks, and where it branched off', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    recorder.hear('two', entriesTo(2, 'b'));
    recorder.hear('one', entriesTo(3, 'c').slice(2), entriesTo(2)[1]);
    const lives = recorder.branches.map(({ epoch, entries }) => [
      epoch,
      ...Array.from(entries.values(), nonceOf),
    ]);
    expect(lives).toEqual([
      ['one', 'a1', 'a2', 'a3'],
      ['two', 'b1', 'b2'],
      ['one', 'a1', 'a2', 'c3'],
    ]);
  });

  it('takes what a former server appends for no part of the log that survives', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    const [, , , four, five] = entriesTo(5, 'b');
    const late = recorder.hear('two', entriesTo(2, 'c'), undefined, []);
    recorder.hear('one', [four!], entriesTo(3)[2]);
    recorder.hear('two', entriesTo(3, 'c').slice(2), entriesTo(2, 'c')[1], late);
    recorder.hear('one', [five!], four);
    const lives = recorder.branches.map(({ epoch, entries }) => [
      epoch,
      ...Array.from(entries.values(), nonceOf),
    ]);
    expect(lives).toEqual([
      ['two', 'c1', 'c2', 'c3'],
      ['one', 'a1', 'a2', 'a3', 'b4', 'b5'],
    ]);
  });

  it.each<[string, (recorder: ScriptedRecorder, withHole: Entry[]) => void]>([
    ['an epoch that was replaced', (recorder, withHole) => recorder.see('two', withHole)],
    ['what went back', (recorder, withHole) => recorder.see('one', withHole.slice(0, -1))],
    [
      'what another server goes on with',
      (recorder, withHole) => void recorder.hear('one', entriesTo(6, 'b').slice(5), withHole.at(-1)),
    ],
  ])('knows a hole in what lives share: %s', (_what, goOn) => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(2));
    const withHole = entriesTo(6).filter(({ sequence }) => sequence !== 3);
    recorder.see('one', withHole);
    goOn(recorder, withHole.slice(0, -1));
    expect(recorder.branches.length).toBeGreaterThan(1);
    expect(recorder.branches.map(({ holes }) => holes)).toEqual(recorder.branches.map(() => [3]));
  });

  it('names what goes on after its epoch was replaced by both, also if it was seen last while it was empty', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('zero', entriesTo(3, 'z'));
    recorder.see('one', []);
    const entries = entriesTo(5);
    recorder.see('two', entries.slice(0, 4), ['zero', 'one']);
    recorder.see('two', entries, ['zero', 'one']);
    const [first, last] = [entries[0]!, entries[4]!];
    const hasAll = (epoch: string) => recorder.holds(epoch, first) && recorder.holds(epoch, last);
    expect(['zero', 'one', 'two'].map(hasAll)).toEqual([false, true, true]);
    expect(recorder.branches.at(-1)!.epoch).toBe('two');
  });

  it('names what is heard to go on after an epoch that was seen last while it was empty by both, too', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', []);
    const entries = entriesTo(2);
    recorder.hear('two', entries);
    expect(['one', 'two'].map((epoch) => recorder.holds(epoch, entries[1]!))).toEqual([true, true]);
  });

  it('names what goes on after its epoch was replaced by both epochs', () => {
    const recorder = new ScriptedRecorder();
    recorder.see('one', entriesTo(3));
    const [, , , four, five] = entriesTo(5);
    recorder.hear('two', [four!], entriesTo(3)[2]);
    recorder.hear('two', [five!], four);
    expect(['one', 'two'].map((epoch) => recorder.holds(epoch, five!))).toEqual([true, true]);
  });
});
