import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import type { Browser } from 'playwright-core';
import { createCutApp, cutOnce, cutsWithinFrames, DATA, eachOf } from '../e2e/clients/cut-frames.js';
import { launchChromium } from '../support/clients/chromium.js';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(4 * DEADLINE_MS);

// Each stream is cut once, at another place: this many are open at a time.
const AT_ONCE = 20;

const configure = (app: INestApplication) => {
  // Each stream has a proxy, and so an origin, of its own.
  app.enableCors();
  app
    .getHttpAdapter()
    .get('/page', (_req: unknown, res: { send(text: string): unknown }) => res.send('A page.'));
};

describe.each(platforms.filter(({ http2 }) => !http2))(
  "Chromium's EventSource, of a stream on $name that is cut within a frame",
  (platform) => {
    let browser: Browser;

    beforeAll(async () => {
      browser = await launchChromium();
    });
    afterAll(() => browser?.close());
    afterEach(closeAll);

    it('gets every event once, wherever it is cut', async () => {
      const { app, port } = await createCutApp(platform, { configure });
      const { page, leave } = await visit(browser);
      await page.goto(`${baseOf(app)}/page`);
      const faults: unknown[] = [];
      const cuts = await cutsWithinFrames(port, '/connect');

      await eachOf(cuts, AT_ONCE, async (bytes) => {
        const proxy = await cutOnce(port, bytes);
        const url = `http://127.0.0.1:${proxy.port}/connect`;
        const got = await page.evaluate(
          ([address, last]) =>
            new Promise<string[]>((resolve) => {
              const data: string[] = [];
              const source = new EventSource(address);
              const take = (event: Event) => {
                data.push((event as unknown as { data: string }).data);
                if (data.at(-1) === last) {
                  source.close();
                  resolve(data);
                }
              };
              ['message', 'changed', 'cursor', 'reset'].forEach((type) =>
                source.addEventListener(type, take),
              );
            }),
          [url, DATA.at(-1)!] as const,
        );
        if (got.join() !== DATA.join()) {
          faults.push([bytes, got]);
        }
        await proxy.stop();
      });

      expect(cuts.length).toBeGreaterThan(200);
      expect(faults).toEqual([]);
      await leave();
    });
  },
);
