import { describe, expect, it } from '@jest/globals';
import type { LogRecord } from '../../log/index.js';
import { controlRecord } from './records.js';
import { outcomeOf } from './state.js';

const ENDING = { reason: 'error', events: 1, bytes: 3, isCut: true, isSettled: false } as const;
const recordsOf = (...kinds: ('begin' | 'end' | 'settled')[]): LogRecord[] =>
  kinds.map((kind, index) => ({
    ...controlRecord(kind, kind === 'end' ? ENDING : null),
    sequence: index + 1,
    nonce: '0000000a',
    time: 0,
  }));

describe('the outcome of a run', () => {
  it('is not settled by its end', () => {
    expect(outcomeOf(recordsOf('begin', 'end'))).toMatchObject({ ending: ENDING, isSettled: false });
  });

  it('is settled by a later record', () => {
    expect(outcomeOf(recordsOf('begin', 'end', 'settled'))).toMatchObject({
      ending: ENDING,
      isSettled: true,
    });
  });

  it('is settled if listeners were told of an end that an older copy of the log has lost', () => {
    // They have the whole answer. The end that was recorded since would replace it by a part.
    expect(outcomeOf(recordsOf('begin', 'settled', 'end'))).toMatchObject({
      ending: ENDING,
      isSettled: true,
    });
  });
});
