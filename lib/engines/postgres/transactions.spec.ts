import { describe, expect, it } from '@jest/globals';
import { runIn } from './transactions.js';

// The libraries themselves are in test/orms. What is here is not installed there, or is no library.

const calls = (): { list: unknown[][]; record: (...args: unknown[]) => Promise<void> } => {
  const list: unknown[][] = [];
  return { list, record: (...args) => Promise.resolve(void list.push(args)) };
};

describe('a statement in a transaction', () => {
  it('of Prisma gets its parameters one by one', async () => {
    const { list, record } = calls();
    await runIn({ $executeRawUnsafe: record }, 'a $1 $2', ['x', 'y']);
    expect(list).toEqual([['a $1 $2', 'x', 'y']]);
  });

  it.each(['id', 'scope_context'])('of Prisma is known by its %s, also if it can connect', async (key) => {
    const { list, record } = calls();
    const client = { $executeRawUnsafe: record, $transaction: record, $connect: record };
    await runIn({ ...client, [Symbol.for(`prisma.client.transaction.${key}`)]: 'tx' }, 'a', []);
    expect(list).toHaveLength(1);
    await expect(runIn(client, 'a', [])).rejects.toThrow('not the one that prisma.$transaction() gives');
  });

  it('of a function, or of an object with query(), is handed on', async () => {
    const { list, record } = calls();
    await runIn(record, 'a', ['x']);
    await runIn({ query: record }, 'a', ['x']);
    expect(list).toEqual([
      ['a', ['x']],
      ['a', ['x']],
    ]);
  });

  it('of pg is refused while none is open', async () => {
    const { list, record } = calls();
    const client = (status: string) => ({ query: record, getTransactionStatus: () => status });
    await expect(runIn(client('I'), 'a', [])).rejects.toMatchObject({ code: 'misuse', isOutcomeKnown: true });
    await runIn(client('T'), 'a', []);
    expect(list).toHaveLength(1);
  });

  it('of Knex is refused once it has ended', async () => {
    const trx = { raw: () => undefined, client: {}, isTransaction: true, isCompleted: () => true };
    await expect(runIn(trx, 'a', [])).rejects.toThrow('no open transaction of Knex: it has ended');
  });

  it.each([[undefined], [null], ['begin'], [{}], [[]]])('of %j is refused', async (transaction) => {
    await expect(runIn(transaction, 'a', [])).rejects.toMatchObject({ code: 'misuse', field: 'transaction' });
  });

  it('rejects with the error of the library', async () => {
    const error = new Error('deadlock');
    await expect(runIn({ query: () => Promise.reject(error) }, 'a', [])).rejects.toBe(error);
  });
});
