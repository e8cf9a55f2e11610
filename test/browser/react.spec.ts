import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Header, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { build } from 'esbuild';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser, Page } from 'playwright-core';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { ScriptedRuns } from '../support/apps/scripted-runs.js';
import { launchChromium } from '../support/clients/chromium.js';
import { cutConnections } from '../support/faults/cut-connections.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';
import type { Visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

const fileAt = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const HTML = `<!doctype html><title>react</title><link rel="icon" href="data:,"><main></main>
<script type="module" src="/script"></script>`;
/** What Chromium says of a connection that was cut. */
const CUT = /ERR_INCOMPLETE_CHUNKED_ENCODING/;
let script = '';

@Controller()
class PageController {
  /** How many numbers were published. */
  count = 0;
  connects = 0;

  constructor(private readonly sse: SseService) {}

  async publish(many: number): Promise<void> {
    const first = this.count + 1;
    this.count += many;
    const all = Array.from({ length: many }, (_, n) => this.sse.publish('numbers', { data: first + n }));
    await Promise.all(all);
  }

  @Get()
  @Header('Content-Type', 'text/html')
  page() {
    return HTML;
  }

  @Get('script')
  @Header('Content-Type', 'text/javascript')
  script() {
    return script;
  }

  @Get('state')
  async state() {
    const at = await this.sse.position();
    return { data: upTo(this.count), at };
  }

  @Get('events')
  events(@Res() res: object) {
    this.connects += 1;
    this.sse.connect(res).follow('numbers');
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

interface ReactPage {
  readonly reactPage: { readonly commits: { frame: number; count: number }[]; frame(): number };
}

describe('the hooks for React in Chromium, in StrictMode', () => {
  let browser: Browser;
  let app: INestApplication;
  let controller: PageController;
  let sse: SseService;
  let visitor: Visit;
  let page: Page;

  beforeAll(async () => {
    const { outputFiles } = await build({
      entryPoints: [fileAt('react-page.jsx')],
      alias: {
        'nestjs-event-stream/client': fileAt('../../lib/client/index.ts'),
        'nestjs-event-stream/react': fileAt('../../lib/react/index.ts'),
      },
      bundle: true,
      write: false,
      format: 'esm',
      jsx: 'automatic',
      // StrictMode mounts everything twice in development alone.
      define: { 'process.env.NODE_ENV': '"development"' },
      target: 'es2022',
    });
    script = outputFiles[0]!.text;
    browser = await launchChromium();
    app = await platforms[0]!.create({
      imports: [SseModule.forRoot({ retryMs: 20 })],
      controllers: [PageController, ScriptedRuns],
    });
    controller = app.get(PageController);
    sse = app.get(SseService);
  });
  beforeEach(async () => {
    visitor = await visit(browser);
    ({ page } = visitor);
    await page.goto(baseOf(app));
  });
  afterEach(async () => {
    await visitor.leave();
    expect(visitor.complaints.filter((text) => !CUT.test(text))).toEqual([]);
    await haveStreams(0);
  });
  afterAll(async () => {
    await browser?.close();
    await closeAll();
  });

  const press = (name: string) => page.getByRole('button', { name }).click();
  const haveStreams = (count: number) =>
    waitFor(() => sse.connections.size === count, {
      timeoutMs: DEADLINE_MS,
      describe: () => `${count} streams, but there are ${sse.connections.size}`,
    });
  const shows = (id: string, text: string) =>
    page.locator(`#${id}`).getByText(text, { exact: true }).waitFor();
  const showAll = () => shows('numbers', upTo(controller.count).join(' '));

  it('follow over one connection, over cuts, and close it at the server as they unmount', async () => {
    const { connects } = controller;
    await controller.publish(3);
    await press('Show numbers');
    await showAll();
    await haveStreams(1);
    await controller.publish(2);
    await showAll();
    expect(controller.connects).toBe(connects + 1);

    cutConnections(sse.connections);
    await controller.publish(2);
    await showAll();
    expect(controller.connects).toBe(connects + 2);

    await press('Hide numbers');
    await haveStreams(0);
    await controller.publish(2);
    await press('Show numbers');
    await showAll();
  });

  it('render once a frame in a burst of a thousand events', async () => {
    await press('Show numbers');
    await shows('status', 'open');
    await showAll();
    const read = () =>
      page.evaluate(() => {
        const { commits, frame } = (globalThis as unknown as ReactPage).reactPage;
        return { commits, frame: frame() };
      });
    const before = await read();
    await controller.publish(1_000);
    await showAll();
    const { commits, frame } = await read();
    const own = commits.slice(before.commits.length);
    expect(new Set(own.map((commit) => commit.frame)).size).toBe(own.length);
    expect(own.length).toBeLessThanOrEqual(frame - before.frame + 1);
    expect(own.at(-1)!.count).toBe(controller.count);
  });

  it('leave a run as they unmount, come back to it, and stop it', async () => {
    const { source } = app.get(ScriptedRuns);
    source.push('One ', 'two ');
    await press('Show answer');
    await press('Ask');
    await shows('answer', 'One two');
    await press('Hide answer');
    await haveStreams(0);
    source.push('three ');
    await press('Show answer');
    await shows('answer', 'One two three');
    expect(source.isAborted).toBe(false);

    cutConnections(sse.connections);
    source.push('four');
    await shows('answer', 'One two three four');
    await press('Stop');
    await source.untilAborted(DEADLINE_MS);
    await shows('run', 'stopped');
    expect(source.starts).toBe(1);
  });
});
