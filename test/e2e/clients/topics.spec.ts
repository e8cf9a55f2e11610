import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows } from '../topics/topics-app.js';
import type { TopicsApp } from '../topics/topics-app.js';
import { oracles } from './oracles.js';
import type { Oracle, Subscription } from './oracles.js';

const TYPES = ['cursor', 'reset', 'changed'];

describe.each(rows.filter(({ platform }) => !platform.http2))(
  'topics through $style on $platform.name',
  ({ platform, path }) => {
    const subscriptions: Subscription[] = [];

    afterEach(async () => {
      subscriptions.splice(0).forEach((subscription) => subscription.close());
      await closeAll();
    });

    const create = async (oracle: Oracle, options: SseModuleOptions = {}) => {
      const context = await createTopicsApp(platform, { retryMs: 30, heartbeatMs: 20, ...options });
      context.follow((connection) => connection.follow('orders.>'));
      await context.sse.publish('orders.0', 'before any client');
      const subscription = oracle.subscribe(`${baseOf(context.app)}${path}`, TYPES);
      subscriptions.push(subscription);
      const messages = () => subscription.messages;
      const received = (count: number) =>
        waitFor(() => messages().length >= count, {
          timeoutMs: 15_000,
          describe: () => `${count} messages, having received ${JSON.stringify(messages())}`,
        });
      await received(1);
      return { context, messages, received, subscription };
    };

    const publish = async ({ sse }: TopicsApp, from: number, to: number) => {
      const expected = [];
      for (let n = from; n <= to; n += 1) {
        const lastEventId = await sse.publish(`orders.${n}`, {
          type: 'changed',
          data: { n, text: '收到\n🙂' },
        });
        await sse.publish('others', n);
        expected.push({ type: 'changed', data: JSON.stringify({ n, text: '收到\n🙂' }), lastEventId });
      }
      return expected;
    };

    it.each(oracles)('lets $name miss nothing when it is cut off', async (oracle) => {
      const { context, messages, received, subscription } = await create(oracle);
      const expected = await publish(context, 1, 5);
      await received(6);

      drop(context);
      expected.push(...(await publish(context, 6, 10)));
      await received(11);
      expected.push(...(await publish(context, 11, 12)));
      await received(13);

      expect(messages().slice(1)).toEqual(expected);
      expect(messages()[0]).toMatchObject({ type: 'cursor', data: '{}' });
      expect(context.counts).toMatchObject({ new: 1, ring: 1 });
      subscription.close();
      await nothingLeft(context);
    });

    it.each(oracles)('lets $name miss nothing where it is cut off before its first event', async (oracle) => {
      const { context, messages, received } = await create(oracle);

      drop(context);
      const expected = await publish(context, 1, 3);
      await received(4);

      expect(messages().slice(1)).toEqual(expected);
      expect(context.counts).toMatchObject({ new: 1, ring: 1 });
    });

    it.each(oracles)(
      'tells $name that something is missing, once, and nothing is from there on',
      async (oracle) => {
        const { context, messages, received } = await create(oracle, { maxReplayEvents: 15 });
        await publish(context, 1, 1);
        await received(2);

        drop(context);
        await publish(context, 2, 9);
        await received(3);
        const expected = await publish(context, 10, 11);
        await received(5);
        drop(context);
        expected.push(...(await publish(context, 12, 12)));
        await received(6);

        expect(messages()[2]).toMatchObject({ type: 'reset', data: '{"reason":"limit"}' });
        expect(messages().slice(3)).toEqual(expected);
      },
    );
  },
);

/** As a network that fails. */
function drop({ connections }: TopicsApp): void {
  for (const { request } of connections.splice(0)) {
    const own = request as IncomingMessage & { raw?: IncomingMessage };
    (own.raw ?? own).socket.destroy();
  }
}
