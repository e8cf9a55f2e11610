import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { EventLogFactory, EventLogStore, RelayTarget } from '../../log/index.js';
import { memory } from '../memory/index.js';
import { postgresOutbox } from './postgres.outbox.js';

// No server is asked: it is reached when the log is followed, or something is published by the outbox.
const OPTIONS = { url: 'postgres://127.0.0.1:1/none', publishTimeoutMs: 200 };
const RECORD = { topic: 'a', data: '1', isJson: true };

const stores: EventLogStore[] = [];

/** A log that events can be relayed to. */
function logWith(allowsDirect: boolean, check = () => undefined): EventLogFactory {
  const relay = { allowsDirect, check } as unknown as RelayTarget;
  return (context) => Object.assign(memory()(context), { relay });
}

function open(relay: 'all' | 'transactional-only', log: EventLogFactory): EventLogStore {
  const store = postgresOutbox({ ...OPTIONS, relay })(log);
  stores.push(store);
  return store;
}

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

describe('direct publishes beside an outbox', () => {
  it('go by PostgreSQL, and are refused while it is away', async () => {
    await expect(open('all', logWith(true)).log.append([RECORD])).rejects.toMatchObject({
      code: 'publish-failed',
      message: expect.stringMatching(/^PostgreSQL did not take the event/),
    });
  });

  it('go to the log if only transactions are relayed', async () => {
    const { records } = await open('transactional-only', logWith(true)).log.append([RECORD]);
    expect(records).toMatchObject([{ ...RECORD, sequence: 1 }]);
  });

  it('do not, with a log that takes relayed events right after one another', () => {
    expect(() => open('transactional-only', logWith(false))).toThrow(
      expect.objectContaining({ code: 'options-invalid', field: 'relay' }),
    );
  });
});

it('refuses what the log would never take, before it is in the outbox', async () => {
  const store = open(
    'all',
    logWith(true, () => {
      throw new Error('too large');
    }),
  );
  const query = jest.fn();
  await expect(store.log.append([RECORD])).rejects.toThrow('too large');
  await expect(store.appendWithin!({ query }, [RECORD])).rejects.toThrow('too large');
  expect(query).not.toHaveBeenCalled();
});
