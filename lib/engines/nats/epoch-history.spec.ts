import { describe, expect, it } from '@jest/globals';
import { epochIn, EpochHistory, withEpoch } from './epoch-history.js';

describe('A description', () => {
  it.each([
    [undefined, '(epoch c, after b a)'],
    ['the events', 'the events (epoch c, after b a)'],
    ['nestjs-event-stream, epoch b', 'nestjs-event-stream, epoch c, after b a'],
    ['the events (epoch b, after a)', 'the events (epoch c, after b a)'],
    ['the events (epoch b, after a) of ours', 'the events (epoch c, after b a) of ours'],
  ])('%j keeps what people wrote, and says the epoch and those before it', (before, after) => {
    expect(withEpoch(before, { epoch: 'c', former: ['b', 'a'] })).toBe(after);
    expect(epochIn(after)).toEqual({ epoch: 'c', former: ['b', 'a'] });
  });

  it.each([undefined, '', 'an epochal stream', 'epoch '])('%j has none', (description) => {
    expect(epochIn(description)).toBeUndefined();
  });

  it('has room for sixteen, the latest', () => {
    const former = Array.from({ length: 40 }, (_, n) => `e${n}`);
    expect(epochIn(withEpoch('', { epoch: 'x', former }))?.former).toEqual(former.slice(0, 16));
  });
});

describe('The epochs of a stream', () => {
  it('know one that comes back, also where a description alone told of it', () => {
    const seen = new EpochHistory();
    seen.see({ epoch: 'a', former: [] });
    expect(seen.isFormer('a')).toBe(false);
    seen.see({ epoch: 'c', former: ['b'] });
    expect(['a', 'b', 'c', 'd'].map((epoch) => seen.isFormer(epoch))).toEqual([true, true, false, false]);
    expect(seen.all).toEqual(['c', 'a', 'b']);
  });

  it('settle: processes that each replace what came back soon agree', () => {
    const histories = Array.from({ length: 5 }, () => new EpochHistory());
    histories.forEach((history, index) => {
      // Each of them has seen another part of what was.
      history.see({ epoch: 'a', former: [] });
      if (index % 2 === 0) {
        history.see({ epoch: 'b', former: [] });
      }
      history.see({ epoch: `c${index % 3}`, former: [] });
    });
    let stream = { epoch: 'a', former: [] as readonly string[] };
    let replaced = 0;
    for (let turn = 0; turn < 50; turn += 1) {
      const history = histories[turn % histories.length]!;
      if (history.isFormer(stream.epoch)) {
        replaced += 1;
        stream = { epoch: `new${replaced}`, former: [...new Set([...history.all, ...stream.former])] };
      }
      history.see(stream);
    }
    expect(replaced).toBe(1);
  });
});
