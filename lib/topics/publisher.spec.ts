import { beforeEach, describe, expect, it } from '@jest/globals';
import { memory } from '../engines/memory/index.js';
import type { EventLogStore, NewRecord } from '../log/index.js';
import { SILENT, TOPIC_SETTINGS } from '../../test/support/apps/stream-server.js';
import { Publisher } from './publisher.js';

describe('publishing within a transaction of the app', () => {
  const transaction = { query: () => undefined };
  const added: [unknown, readonly NewRecord[]][] = [];
  let publisher: Publisher;

  const publisherTo = (store: Pick<EventLogStore, 'log' | 'appendWithin'>) =>
    new Publisher(store, TOPIC_SETTINGS, SILENT);

  beforeEach(() => {
    added.length = 0;
    publisher = publisherTo({
      log: memory()().log,
      appendWithin: async (...args) => void added.push(args),
    });
  });

  it('gives the event to the log with the transaction', async () => {
    expect(await publisher.publishWithin(transaction, 'orders.1', { type: 'paid', data: { a: 1 } })).toBe(
      undefined,
    );
    expect(added).toEqual([
      [transaction, [{ topic: 'orders.1', type: 'paid', data: '{"a":1}', isJson: true }]],
    ]);
  });

  it.each([
    ['a b', { data: 1 }, 'topic-invalid'],
    ['a', { type: 'reset', data: 1 }, 'event-invalid'],
  ])('refuses what cannot be published: %j %j', async (topic, event, code) => {
    await expect(publisher.publishWithin(transaction, topic, event)).rejects.toMatchObject({ code });
    expect([added, publisher.counts.outcomes.refused]).toEqual([[], 1]);
  });

  it('refuses a transaction if the log is not in its database, and names the ways out', async () => {
    await expect(publisherTo(memory()()).publishWithin(transaction, 'a', 1)).rejects.toMatchObject({
      code: 'misuse',
      field: 'transaction',
      isOutcomeKnown: true,
      message: expect.stringMatching(
        /log: postgres\(…\) of nestjs-event-stream\/postgres.*outbox: postgresOutbox\(…\).*publish after the commit/,
      ),
    });
  });

  it('refuses it once the app closes', async () => {
    await publisher.close();
    await expect(publisher.publishWithin(transaction, 'a', 1)).rejects.toMatchObject({ code: 'closed' });
  });
});
