import { describe, expect, it } from '@jest/globals';
import { runInLanes } from './suite-lanes.mjs';

/** Lanes whose suites end when told. */
function lanesOf(names: string[], writes: Record<string, string> = {}) {
  const ends = new Map<string, () => void>();
  const started: string[] = [];
  const done = runInLanes(names, {
    lanes: 2,
    writesOf: (name) => writes[name],
    start: (name) => {
      started.push(name);
      return new Promise<string>((resolve) => ends.set(name, () => resolve(`${name} ran`)));
    },
  });
  const end = async (name: string) => {
    ends.get(name)!();
    await new Promise(setImmediate);
  };
  return { started, end, done };
}

describe('suites in two lanes', () => {
  it('start in their order, the next when one has ended, and report in their order', async () => {
    const { started, end, done } = lanesOf(['a', 'b', 'c', 'd']);
    expect(started).toEqual(['a', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('c');
    await end('d');
    await end('a');
    expect(await done).toEqual(['a ran', 'b ran', 'c ran', 'd ran']);
  });

  it('never run two at once that write the same', async () => {
    const { started, end, done } = lanesOf(['a', 'b', 'c'], { a: 'dist', b: 'dist' });
    expect(started).toEqual(['a', 'c']);
    await end('c');
    expect(started).toEqual(['a', 'c']);
    await end('a');
    expect(started).toEqual(['a', 'c', 'b']);
    await end('b');
    expect(await done).toEqual(['a ran', 'b ran', 'c ran']);
  });

  it('fail with what the start of one throws', async () => {
    const start = () => Promise.reject(new Error('no jest here'));
    await expect(runInLanes(['a'], { lanes: 2, writesOf: () => undefined, start })).rejects.toThrow(
      'no jest',
    );
  });
});
