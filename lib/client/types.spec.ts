import { expect, it } from '@jest/globals';
import { defineTopic, SseClient } from './index.js';

interface Order {
  readonly id: number;
}
const orders = defineTopic<{ created: Order; cancelled: { reason: string } }>('orders.*');

/** Compiled by `npm run types`: a name or a shape that is not the topic's must be an error there. */
it('knows the events of a topic by their types', () => {
  const client = new SseClient({
    baseUrl: 'http://host/',
    fetch: () => Promise.resolve(new Response(null, { status: 204 })),
  });
  const feed = client.follow('/orders', orders);
  feed.on('created', ({ id }) => id.toFixed());
  feed.on('cancelled', ({ reason }) => reason.trim());
  // @ts-expect-error There is no such event.
  feed.on('removed', () => undefined);
  // @ts-expect-error The data of another event.
  feed.on('created', (data: { reason: string }) => data);
  expect(String(orders.of('a.b'))).toBe('orders.a%2Eb');
  feed.close();
});
