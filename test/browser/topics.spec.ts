import type { IncomingMessage } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { createTopicsApp, nothingLeft, rows } from '../e2e/topics/topics-app.js';
import type { TopicsApp } from '../e2e/topics/topics-app.js';
import { launchChromium } from '../support/clients/chromium.js';
import { baseOf, closeAll } from '../support/apps/platforms.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit, type Visit } from './visit.js';

jest.setTimeout(2 * DEADLINE_MS);

/** What an EventSource tells its page: type, data and id. */
type Message = [type: string, data: string, lastEventId: string];
declare const messages: Message[];

describe.each(rows.filter(({ platform }) => !platform.http2))(
  "Chromium's EventSource, through $style on $platform.name",
  ({ platform, path }) => {
    let browser: Browser;
    let visitor: Visit;

    beforeAll(async () => {
      browser = await launchChromium();
    });
    afterAll(() => browser?.close());
    afterEach(async () => {
      await visitor.leave();
      await closeAll();
    });

    const received = async (page: Page, count: number): Promise<Message[]> => {
      await page.waitForFunction((wanted) => messages.length >= wanted, count);
      return page.evaluate(() => messages);
    };

    const follow = async () => {
      const context = await createTopicsApp(
        platform,
        { retryMs: 30 },
        {
          configure: (app) =>
            app
              .getHttpAdapter()
              .get('/page', (_req: unknown, res: { send(text: string): unknown }) => res.send('A page.')),
        },
      );
      // So that what comes first is within the log.
      await context.publish('before', 0);
      visitor = await visit(browser);
      const { page } = visitor;
      await page.goto(`${baseOf(context.app)}/page`);
      await page.evaluate((url) => {
        const got: Message[] = [];
        Object.assign(globalThis, { messages: got });
        const source = new EventSource(url);
        for (const type of ['message', 'changed', 'cursor', 'reset']) {
          source.addEventListener(type, (event) => {
            const { data, lastEventId } = event as unknown as { data: string; lastEventId: string };
            got.push([type, data, lastEventId]);
          });
        }
      }, path);
      await received(page, 1);
      return { context, page };
    };

    const publish = async ({ sse }: TopicsApp, from: number, to: number): Promise<Message[]> => {
      const expected: Message[] = [];
      for (let n = from; n <= to; n += 1) {
        const data = { n, text: '收到\n🙂' };
        const type = n % 2 === 0 ? 'changed' : undefined;
        const position = await sse.publish('a', { type, data });
        expected.push([type ?? 'message', JSON.stringify(data), position]);
      }
      return expected;
    };

    it('misses nothing when it is cut off, before its first event as well', async () => {
      const { context, page } = await follow();
      drop(context);
      const expected = await publish(context, 1, 5);
      await received(page, 6);

      drop(context);
      expected.push(...(await publish(context, 6, 10)));
      await received(page, 11);
      expected.push(...(await publish(context, 11, 12)));

      const [cursor, ...events] = await received(page, 13);
      expect(cursor!.slice(0, 2)).toEqual(['cursor', '{}']);
      expect(events).toEqual(expected);
      expect(context.counts).toMatchObject({ new: 1, ring: 2 });
      await visitor.leave();
      await nothingLeft(context);
    });
  },
);

/** As a network that fails. */
function drop({ connections }: TopicsApp): void {
  for (const { request } of connections.splice(0)) {
    const own = request as IncomingMessage & { raw?: IncomingMessage };
    (own.raw ?? own).socket.destroy();
  }
}
