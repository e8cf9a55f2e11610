import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import { baseOf, closeAll } from '../../support/apps/platforms.js';
import { Random } from '../../support/random.js';
import { createTopicsApp, nothingLeft, rows } from '../topics/topics-app.js';
import { oracles } from './oracles.js';
import type { Message, Subscription } from './oracles.js';

const EVENTS = 600;
const { subscribe } = oracles.find(({ name }) => name === 'eventsource')!;

/** Characters of several bytes and lines, so that a cut may fall within each. */
const contentOf = (n: number) => `${n}: 收到 🙂\n\nline ${'x'.repeat(n % 200)}\nend`;

const http1Rows = rows
  .filter(({ platform }) => !platform.http2)
  .map((row, index) => ({ ...row, seed: index + 1 }));

describe.each(http1Rows)(
  'eventsource behind a network that cuts anywhere, through $style on $platform.name',
  ({ platform, path, seed }) => {
    let subscription: Subscription | undefined;
    let proxy: FaultProxy | undefined;

    afterEach(async () => {
      subscription?.close();
      await proxy?.stop();
      await closeAll();
    });

    it(`gets every event once, in order, seed ${seed}`, async () => {
      const random = new Random(seed);
      const context = await createTopicsApp(platform, { retryMs: 1, ringEvents: 100 });
      // The first lets `retry` through: before it, the client would wait for seconds.
      let isFirst = true;
      proxy = await FaultProxy.start(Number(new URL(baseOf(context.app)).port), {
        cutAfter: () => {
          const bytes = isFirst ? 1_000 : random.between(1, 3_000);
          isFirst = false;
          return { bytes, byReset: random.next() < 0.5 };
        },
      });
      subscription = subscribe(`http://127.0.0.1:${proxy.port}${path}`, ['cursor', 'reset', 'changed']);
      const { messages } = subscription;
      await waitFor(() => messages.length > 0);

      for (let n = 0; n < EVENTS; n += 1) {
        void context.sse.publish('a', { type: n % 5 === 0 ? 'changed' : undefined, data: contentOf(n) });
        if (random.next() < 0.2) {
          await pause(1);
        }
      }
      const isThere = ({ data }: Message) => data === contentOf(EVENTS - 1);
      await waitFor(() => messages.some(isThere), {
        timeoutMs: 25_000,
        describe: () => `all events, having received ${messages.length} over ${proxy!.cuts} cuts`,
      });

      const events = messages.filter(({ type }) => type !== 'cursor');
      expect(events.map(({ type, data }) => [type, data])).toEqual(
        Array.from({ length: EVENTS }, (_, n) => [n % 5 === 0 ? 'changed' : 'message', contentOf(n)]),
      );
      expect(proxy.cuts).toBeGreaterThan(50);
      subscription.close();
      await proxy.stop();
      await nothingLeft(context);
    });
  },
);
