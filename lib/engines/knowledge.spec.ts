import { describe, expect, it } from '@jest/globals';
import { FormerEpochs } from './former-epochs.js';
import { LogKnowledge } from './knowledge.js';

const head = (epoch: string) => ({ epoch, sequence: 1, nonce: '0000abcd' });

describe('LogKnowledge', () => {
  it('gives a log that begins anew all epochs before it, so that it need not be replaced once more', () => {
    const knowledge = new LogKnowledge();
    knowledge.follow('a', '');
    knowledge.follow('b', '');
    knowledge.acknowledge(head('c'));

    const former = FormerEpochs.parse(knowledge.formerOfNext());

    expect(['a', 'b', 'c', 'd'].map((epoch) => former.has(epoch))).toEqual([true, true, true, false]);
    expect(knowledge.allows('d', String(former))).toBe(true);
    expect(knowledge.allows('d', '')).toBe(false);
  });

  it('takes no epoch that it has left for the log, whatever that knows', () => {
    const knowledge = new LogKnowledge();
    knowledge.follow('a', '');
    const before = knowledge.formerOfNext();
    knowledge.follow('b', before);

    expect(knowledge.allows('a', String(FormerEpochs.parse(before).with('b')))).toBe(false);
    expect(knowledge.allows('b', before)).toBe(true);
  });
});
