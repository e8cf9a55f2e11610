import { describe, expect, it } from '@jest/globals';
import { transactionOf } from './sse.publish-options.js';

describe('the options of publish()', () => {
  it('have a transaction', () => {
    const transaction = { query: () => undefined };
    expect(transactionOf({ transaction })).toBe(transaction);
    expect(transactionOf({ transaction: () => undefined })).toBeInstanceOf(Function);
  });

  it.each([
    [{}, 'transaction of publish() must be the transaction that the event is part of, got undefined'],
    [{ transaction: undefined }, 'got undefined'],
    [{ transaction: 'tx' }, 'got "tx"'],
    [{ tx: {} }, 'publish() has no option "tx"'],
    [null, 'The options of publish() are an object, got null'],
  ])('refuse %j, so that no event is published outside of it unseen', (options, message) => {
    expect(() => transactionOf(options as never)).toThrow(
      expect.objectContaining({ code: 'options-invalid', message: expect.stringContaining(message) }),
    );
  });
});
