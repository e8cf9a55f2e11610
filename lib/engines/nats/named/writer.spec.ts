import { describe, expect, it } from '@jest/globals';
import type { StoredState } from './state.js';
import { NamedWriter } from './writer.js';
import type { WrittenLog } from './writer.js';

const STATE: StoredState = {
  epoch: 'e1',
  sequence: 7,
  nonce: '0000000a',
  fence: 1,
  ttlMs: 1_000,
  maxEvents: 100,
  hasExpired: false,
  startsAfter: 0,
  streamSequence: 70,
  time: 0,
};
const DRAFT = { topic: 'item', data: '1', isJson: true, nonce: '0000000b', time: 0 };

describe('NamedWriter', () => {
  it('cannot say whether a message is stored, if another one has its place and that cannot be read', async () => {
    const log: WrittenLog = {
      state: STATE,
      put: () => Promise.resolve(undefined),
      refresh: () => Promise.reject(new Error('timeout')),
      recordAt: () => Promise.resolve(undefined),
      onWritten: () => undefined,
    };
    const writer = new NamedWriter(log, 60_000, () => 1_000_000);
    // It may be its own, from an attempt whose answer was lost.
    await expect(writer.append([DRAFT], undefined)).rejects.toMatchObject({ isOutcomeKnown: false });
  });
});
