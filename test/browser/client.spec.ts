import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { build } from 'esbuild';
import { memory, SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { ScriptedRuns } from '../support/apps/scripted-runs.js';
import { launchChromium } from '../support/clients/chromium.js';
import { FirefoxOfPages } from '../support/clients/firefox.js';
import { startWebKit } from '../support/clients/webkit.js';
import { cutConnections, socketsOf } from '../support/faults/cut-connections.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Random } from '../support/random.js';
import { numberedData } from '../support/apps/numbered-events.js';
import type { Readings } from './compressed-readers.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';
import type { Visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

const HTML =
  '<!doctype html><title>client</title><link rel="icon" href="data:,"><script type="module" src="/script"></script>';
let script = '';
const READERS = ['eventSource', 'client', 'fetched'] as const;

interface Reply {
  type(type: string): { send(text: string): unknown };
  status(status: number): { send(text: string): unknown };
}

@Controller()
class PageController {
  log: unknown[] = [];
  authorizations: (string | undefined)[] = [];
  urls: string[] = [];
  state: () => unknown = () => undefined;
  rejects = 0;
  isOver = false;
  isAway = false;
  /** How often a page was refused while the app was away. */
  refused = 0;

  constructor(private readonly sse: SseService) {}

  @Get('page')
  page(@Res() res: Reply) {
    res.type('text/html').send(HTML);
  }

  @Get('script')
  script(@Res() res: Reply) {
    res.type('text/javascript').send(script);
  }

  @Get('report')
  report(@Query('log') log: string) {
    this.log = JSON.parse(log) as unknown[];
    return {};
  }

  @Get('state')
  readState() {
    return this.state();
  }

  @Get('feed')
  feed(@Req() req: { url: string; headers: Record<string, string> }, @Res() res: Reply) {
    this.authorizations.push(req.headers['authorization']);
    this.urls.push(req.url);
    if (this.rejects > 0) {
      this.rejects -= 1;
      res.status(401).send('expired');
    } else if (this.isAway) {
      this.refused += 1;
      res.status(503).send('not yet');
    } else if (this.isOver) {
      this.sse.stopReconnecting(res);
    } else {
      this.sse.connect(res).follow('a');
    }
  }
}

/** A browser that shows one page after another. */
interface PageBrowser {
  open(url: string): unknown;
  leave(): unknown;
  close(): Promise<void>;
}

async function startChromium(): Promise<PageBrowser> {
  const browser = await launchChromium();
  let visitor: Visit;
  return {
    open: async (url) => {
      visitor = await visit(browser);
      await visitor.page.goto(url);
    },
    leave: () => visitor.leave(),
    close: () => browser.close(),
  };
}
const [express, fastify] = platforms.filter(({ http2 }) => !http2) as [
  (typeof platforms)[0],
  (typeof platforms)[0],
];

describe.each([
  { name: 'Chromium', start: startChromium, platform: express },
  { name: 'Chromium', start: startChromium, platform: fastify },
  { name: 'Firefox', start: () => FirefoxOfPages.start(), platform: express },
  { name: 'WebKit', start: startWebKit, platform: express },
])('the client in $name, with $platform.name', ({ name, start, platform }) => {
  let browser: PageBrowser;
  const createApp = async (options = {}) => {
    const app = await platform.create(
      {
        imports: [SseModule.forRoot({ retryMs: 20, ...options })],
        controllers: [PageController, ScriptedRuns],
      },
      { configure: (nest) => nest.enableCors({ origin: true }) },
    );
    return { app, sse: app.get(SseService), controller: app.get(PageController) };
  };
  const begin = async (app: INestApplication, search = '') => {
    await browser.open(`${baseOf(app)}/page${search}`);
  };
  const logged = (controller: PageController, count: number) =>
    waitFor(() => controller.log.length >= count, {
      timeoutMs: DEADLINE_MS,
      describe: () => `${count} entries, but there are ${JSON.stringify(controller.log)}`,
    });

  beforeAll(async () => {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL('client-page.ts', import.meta.url))],
      alias: {
        'nestjs-event-stream/client': fileURLToPath(new URL('../../lib/client/index.ts', import.meta.url)),
      },
      bundle: true,
      write: false,
      format: 'esm',
      target: 'es2022',
    });
    script = outputFiles[0]!.text;
    browser = await start();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await browser.leave();
    await closeAll();
  });

  it('has the state, then each event once, over cuts, a silence, a 401, a reset, and ends at 204', async () => {
    const { app, sse, controller } = await createApp({
      log: memory({ maxEvents: 20 }),
      ringEvents: 10,
      heartbeatMs: 1_000,
    });
    let count = 0;
    const publish = async () => {
      count += 1;
      await sse.publish('a', { data: count });
    };
    controller.state = async () => {
      await publish();
      const read = { data: count, at: await sse.position() };
      await publish();
      return read;
    };
    await begin(app);
    await logged(controller, 2);
    expect(controller.log).toEqual([{ state: 1 }, 2]);

    for (let cuts = 0; cuts < 3; cuts += 1) {
      cutConnections(sse.connections);
      await publish();
      await publish();
      await logged(controller, count);
    }
    // The network goes on to hold the connection, and brings nothing any more.
    const asked = controller.authorizations.length;
    const silenced = socketsOf(sse.connections);
    silenced.forEach((socket) => {
      socket.write = () => true;
    });
    controller.rejects = 1;
    await publish();
    await logged(controller, count + 1);
    expect(controller.log).toEqual([
      { state: 1 },
      ...Array.from({ length: count - 2 }, (_, n) => n + 2),
      { error: 'status', status: 401 },
      count,
    ]);
    const tokens = controller.authorizations.slice(asked);
    expect(new Set(tokens).size).toBe(tokens.length);
    silenced.forEach((socket) => socket.destroy());

    // More than the log keeps.
    const before = controller.log.length;
    controller.isAway = true;
    cutConnections(sse.connections);
    for (let n = 0; n < 50; n += 1) {
      await publish();
    }
    // All of them are published in one turn, in which followers receive none yet. A page that returns in that turn
    // misses nothing, and gets no reset.
    await waitFor(() => controller.refused > 0, { timeoutMs: DEADLINE_MS });
    controller.isAway = false;
    await logged(controller, before + 3);
    expect(controller.log.slice(before)).toEqual([{ reset: 'trimmed' }, { state: count - 1 }, count]);

    controller.isOver = true;
    cutConnections(sse.connections);
    await waitFor(() => controller.log.at(-1) === 'closed', { timeoutMs: DEADLINE_MS });
  });

  it('names its place in the URL across origins', async () => {
    const { app, sse, controller } = await createApp();
    controller.state = async () => ({ data: 0, at: await sse.position() });
    const other = baseOf(app).replace('127.0.0.1', 'localhost');
    await begin(app, `?base=${encodeURIComponent(other)}`);
    await logged(controller, 1);
    await sse.publish('a', { data: 1 });
    await logged(controller, 2);
    const place = await sse.position();
    await waitFor(() => sse.connections.size === 1);
    sse.connections.close(() => true);
    await sse.publish('a', { data: 2 });
    await logged(controller, 3);
    expect(controller.log).toEqual([{ state: 0 }, 1, 2]);
    expect(controller.urls).toEqual(['/feed', `/feed?lastEventId=${place}`]);
  });

  it('reads a run to its end, over cuts, and stops it', async () => {
    const { app, sse, controller } = await createApp();
    const { source } = app.get(ScriptedRuns);
    source.push(1);
    await begin(app, '?run');
    for (let n = 2; n <= 9; n += 1) {
      await logged(controller, n - 1);
      if (n % 3 === 0) {
        await waitFor(() => sse.connections.size === 1);
        cutConnections(sse.connections);
      }
      source.push(n);
    }
    await source.untilAborted(DEADLINE_MS);
    await logged(controller, 11);
    expect(controller.log).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, { stopped: true }, { reason: 'stopped' }]);
    expect(source.starts).toBe(1);
  });

  // To a browser both platforms are one.
  if (platform !== fastify) {
    it.each(['events', 'stream'] as const)(
      'decodes what is compressed, with %s: event by event, heartbeats as well, and whole over cuts at random bytes',
      async (compression) => {
        const { app, sse, controller } = await createApp({ compression, heartbeatMs: 200 });
        const random = new Random(5);
        let cutsLeft = 0;
        const heads: string[] = [];
        const network = await FaultProxy.start(Number(new URL(baseOf(app)).port), {
          // Behind the head, which has fewer than 1,000 bytes.
          cutAfter: () => ({
            bytes: (cutsLeft -= 1) >= 0 ? 1_000 + random.between(0, 3_000) : Infinity,
            byReset: false,
          }),
          tap: headsTap(heads),
        });
        try {
          await begin(app, `?readers&base=${encodeURIComponent(`http://127.0.0.1:${network.port}`)}`);
          await waitFor(() => sse.connections.size === 3, { timeoutMs: DEADLINE_MS });
          const all: number[] = [];
          const publish = async () => {
            await sse.publish('a', { data: numberedData(all.length) });
            all.push(all.length);
          };
          const readings = () => controller.log[0] as Readings | undefined;
          const until = (condition: (read: Readings) => boolean) =>
            waitFor(() => readings() && condition(readings()!), {
              timeoutMs: DEADLINE_MS,
              describe: () => `${all.length} events, but there are ${JSON.stringify(readings())}`,
            });
          for (let n = 0; n < 15; n += 1) {
            await publish();
            // Before the next one is there.
            await until((read) => READERS.every((reader) => read[reader].length >= all.length));
          }
          READERS.forEach((reader) => expect(readings()![reader]).toEqual(all));
          await until(({ beats }) => beats > 0);

          cutsLeft = 6;
          network.drop();
          for (let n = 0; n < 30; n += 1) {
            await publish();
          }
          // WebKit's EventSource joins what is left of a frame that was cut to the next one, compressed or not.
          const readers = READERS.filter((reader) => name !== 'WebKit' || reader !== 'eventSource');
          await until((read) => readers.every((reader) => read[reader].length >= all.length));
          readers.forEach((reader) => expect(readings()![reader]).toEqual(all));
          expect(network.cuts).toBeGreaterThan(0);
          heads.forEach((head) => expect(head).toMatch(/\r\ncontent-encoding: gzip\r\n/i));
        } finally {
          await network.stop();
        }
      },
    );
  }
});

/** Notes what comes first on each connection: the head of an answer. */
function headsTap(heads: string[]) {
  return {
    open: () => {
      let isFirst = true;
      return {
        toServer: () => undefined,
        toClient: (bytes: Buffer) => {
          if (isFirst) {
            heads.push(bytes.toString('latin1'));
          }
          isFirst = false;
        },
      };
    },
  };
}
