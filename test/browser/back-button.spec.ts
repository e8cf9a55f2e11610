import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Header, Module, Sse, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { guideExample } from '../suites/guide-blocks.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

const SHOW = `
  window.shown = [];
  window.comesFromCache = false;
  function show({ type, data }) {
    if (type !== 'cursor') shown.push(type + ' ' + data);
  }
  addEventListener('pageshow', ({ persisted }) => { comesFromCache = persisted; });
`;
const page = (title: string, script: string) =>
  `<!doctype html><title>${title}</title><link rel="icon" href="data:,"><script>${script}</script>`;

@Controller()
class PagesController {
  @Get()
  @Header('Content-Type', 'text/html')
  orders(): string {
    return page('orders', `${SHOW}${guideExample("addEventListener('pageshow'")}`);
  }

  @Get('elsewhere')
  @Header('Content-Type', 'text/html')
  elsewhere(): string {
    return page('elsewhere', '');
  }

  @Sse('orders/events')
  events(@Connection() connection: SseConnection) {
    return connection.follow('orders.*');
  }
}

@Module({ imports: [SseModule.forRoot({ retryMs: 100 })], controllers: [PagesController] })
class PagesModule {}

describe("the guide's page that follows topics", () => {
  let browser: Browser;
  let app: INestApplication;
  let sse: SseService;

  beforeAll(async () => {
    browser = await launchChromium({ keepsPages: true });
  });
  afterAll(() => browser?.close());
  beforeEach(async () => {
    const module = await Test.createTestingModule({ imports: [PagesModule] }).compile();
    app = module.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    sse = app.get(SseService);
  });
  afterEach(() => app.close());

  const publish = (n: number) => sse.publish('orders.1', { type: 'changed', data: n });
  const connected = (count: number) =>
    waitFor(() => sse.connections.size === count, { timeoutMs: DEADLINE_MS });

  it('has each event once after the back button, from the back/forward cache', async () => {
    const { page: tab, leave } = await visit(browser);
    const shown = (count: number) =>
      tab.waitForFunction(
        (wanted) => (globalThis as unknown as { shown: string[] }).shown.length >= wanted,
        count,
      );
    const base = await app.getUrl();
    await tab.goto(`${base}/`);
    await connected(1);
    await publish(1);
    await shown(1);

    await tab.goto(`${base}/elsewhere`);
    await connected(0);
    await publish(2);
    // A page from the cache is not loaded again.
    await tab.goBack({ waitUntil: 'commit' });
    await connected(1);
    await publish(3);
    await shown(3);

    expect(await tab.evaluate('[comesFromCache, shown]')).toEqual([
      true,
      ['changed 1', 'changed 2', 'changed 3'],
    ]);
    await leave();
  });
});
