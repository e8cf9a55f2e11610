/** @jest-environment ./test/support/page.environment.mjs */
import { expect, it } from '@jest/globals';
import { createElement } from 'react';
import type { ReactNode } from 'react';
import { renderToString } from 'react-dom/server';
import { defineTopic, SseClient } from '../client/index.js';
import { SseProvider, useFollow, useRun } from './index.js';

interface Order {
  readonly id: number;
}
const orders = defineTopic<{ created: Order; cancelled: { reason: string } }>('orders.*');
const users = defineTopic<{ renamed: string }>('users');
declare function readOrders(signal: AbortSignal): Promise<Order[]>;

/** Compiled by `npm run types`: a name or a shape that is not the topic's must be an error there. */
function Typed(): ReactNode {
  const { data, events } = useFollow('/orders', orders, {
    state: ({ signal }) => readOrders(signal),
    reduce: (all, event) => (event.type === 'created' ? [...all, event.data] : all),
    onEvent: (event) => event.type === 'cancelled' && event.data.reason.trim(),
  });
  data?.map(({ id }) => id.toFixed());
  // @ts-expect-error There may be no data yet.
  data.map(({ id }) => id);
  // @ts-expect-error There is no such event.
  events.filter(({ type }) => type === 'removed');

  const { data: placed } = useFollow('/orders', orders, {
    suspense: true,
    state: async () => ({ data: [{ id: 1 }] as Order[], at: 'e-1-00000000' }),
  });
  placed.map(({ id }) => id.toFixed());

  const { data: byId } = useFollow('/orders', orders, {
    initialData: new Map<number, Order>(),
    state: async () => [] as Order[],
    merge: (_all, given) => new Map(given.map((order) => [order.id, order])),
    // @ts-expect-error The data is a map.
    reduce: (all, _event) => [...all],
  });
  byId.get(1);

  const { events: both } = useFollow('/all', [orders.of(1), orders]);
  both.map((event) => (event.type === 'created' ? event.data.id : event.data.reason));
  const { data: name } = useFollow('/users', users, { initialData: '', reduce: (_name, { data }) => data });
  name.trim();

  const answer = useRun(
    { attach: '/run' },
    { initialData: 0, reduce: (length, word: string) => length + word.length },
  );
  answer.data.toFixed();
  // @ts-expect-error Items are words.
  void (answer.items satisfies readonly number[]);
  return null;
}

it('knows the data and the events by their topics', () => {
  const client = new SseClient({ baseUrl: 'http://host/' });
  expect(
    renderToString(
      createElement(
        SseProvider,
        { client },
        createElement(() => Typed.name),
      ),
    ),
  ).toBe('Typed');
});
