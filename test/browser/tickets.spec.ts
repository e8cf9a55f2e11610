import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Header, Post, Query, Req, Sse, UseGuards } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import {
  Connection,
  SseConnection,
  SseModule,
  SseService,
  SseTicketGuard,
  ticketOf,
  topic,
} from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../lib/connection/index.js';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';
import { launchChromium } from '../support/clients/chromium.js';
import { openFirefox } from '../support/clients/firefox.js';
import { startWebKit } from '../support/clients/webkit.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { stopServers } from '../support/servers/local-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import { guideExample } from '../suites/guide-blocks.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

/** The guide's page as it stands, which reports what it shows. */
const HTML = `<!doctype html><title>tickets</title><link rel="icon" href="data:,"><script type="module">
const shown = [];
let reporting = Promise.resolve();
function show(type, data) {
  shown.push([type, data]);
  const text = encodeURIComponent(JSON.stringify(shown));
  reporting = reporting.then(() => fetch('/report?shown=' + text)).catch(() => undefined);
}
${guideExample('new EventSource(`/orders?')}
listen();
</script>`;

/** What the page of the running test has shown. It outlives the app. */
let shown: [type: string, data: string][] = [];

@Controller()
class OrdersController {
  issued = 0;
  readonly urls: string[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('page')
  @Header('Content-Type', 'text/html')
  page() {
    return HTML;
  }

  @Get('report')
  report(@Query('shown') text: string) {
    shown = JSON.parse(text) as typeof shown;
    return {};
  }

  @Post('ticket')
  ticket() {
    this.issued += 1;
    return { ticket: this.sse.tickets.issue({ key: 'anna' }) };
  }

  @Sse('orders')
  @UseGuards(SseTicketGuard)
  orders(@Req() request: { url: string }, @Connection() connection: SseConnection) {
    this.urls.push(request.url);
    return connection.follow(topic`users.${ticketOf(request)!.keys[0]!}.orders`);
  }
}

const chromium = async (url: string) => {
  const browser = await launchChromium();
  const { page } = await visit(browser);
  await page.goto(url);
  return { close: () => browser.close() };
};
const firefox = (url: string) => Promise.resolve(openFirefox(url));
const webKit = async (url: string) => {
  const browser = await startWebKit();
  browser.open(url);
  return browser;
};
const [express, fastify] = platforms.filter(({ http2 }) => !http2) as [Platform, Platform];

describe.each([
  { browser: 'Chromium', open: chromium, platform: express },
  { browser: 'Firefox', open: firefox, platform: fastify },
  { browser: 'WebKit', open: webKit, platform: express },
])("the guide's page with tickets in $browser, on $platform.name", ({ open, platform }) => {
  let opened: { close(): Promise<void> } | undefined;
  let proxy: FaultProxy;
  afterEach(async () => {
    await opened?.close();
    await closeAll();
    await proxy.stop();
    await stopServers();
    shown = [];
  });

  it('misses nothing over rotation, a shed, a cut, and a restart', async () => {
    const server = await startRedis();
    const createApp = () =>
      platform.create({
        imports: [
          SseModule.forRoot({
            retryMs: 20,
            log: redis({ url: server.url }),
            tickets: { secret: 'a secret that outlives the restart' },
            drain: { spreadMs: 100 },
          }),
        ],
        controllers: [OrdersController],
      });
    const portOf = (app: INestApplication) => Number(new URL(baseOf(app)).port);
    let app = await createApp();
    proxy = await FaultProxy.start(portOf(app));
    opened = await open(`http://127.0.0.1:${proxy.port}/page`);

    let count = 0;
    const orders = () => shown.filter(([type]) => type === 'changed').map(([, data]) => Number(data));
    const publish = async () => {
      count += 1;
      await app.get(SseService).publish('users.anna.orders', { type: 'changed', data: count });
    };
    const isShown = () =>
      waitFor(() => orders().length >= count, {
        timeoutMs: DEADLINE_MS,
        describe: () => `${count} orders, but there are ${JSON.stringify(shown)}`,
      });
    await waitFor(() => shown.length > 0, { timeoutMs: DEADLINE_MS });
    expect(shown).toEqual([['cursor', '{}']]);
    await publish();
    await isShown();

    // Rotation: the response ends, and the source comes back with the ticket that is spent.
    for (let rounds = 0; rounds < 3; rounds += 1) {
      expect(app.get(SseService).connections.close()).toBe(1);
      await publish();
      await isShown();
    }
    expect(app.get(OrdersController).issued).toBe(4);

    // Shed: the ticket is spent, and no stream was opened.
    const registry = app.get(ConnectionRegistry, { strict: false });
    const shed = jest.spyOn(registry, 'refusal').mockReturnValueOnce({ retryMs: 50, reason: 'server' });
    registry.close();
    await publish();
    await isShown();
    expect(shed).toHaveBeenCalledTimes(2);
    expect(app.get(OrdersController).urls).toHaveLength(5);
    expect(app.get(OrdersController).issued).toBe(6);

    // A network that is lost.
    proxy.drop();
    await publish();
    await isShown();

    // Drain and restart: the next process has the same log, and the spent tickets are known to it.
    const next = await createApp();
    await app.close();
    app = next;
    proxy.targetPort = portOf(next);
    await publish();
    await isShown();
    expect(orders()).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    expect(shown.filter(([type]) => type !== 'changed')).toEqual([['cursor', '{}']]);
  });
});
