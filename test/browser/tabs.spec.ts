import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { waitFor } from 'nestjs-event-stream/testing';
import { launchChromium } from '../support/clients/chromium.js';
import { openFirefox } from '../support/clients/firefox.js';
import { Random } from '../support/random.js';
import { DEADLINE_MS } from './sample-process.js';
import { TabsJourney } from './tabs-journey.js';
import { PAGES, TabsServer } from './tabs-server.js';

// TABS_STEPS=100 TABS_SEED=7 npm run jest -- --selectProjects browser --testPathPatterns browser/tabs
const STEPS = Number(process.env['TABS_STEPS'] ?? 0);
const SEED = Number(process.env['TABS_SEED'] ?? Math.floor(Math.random() * 1e6));

jest.setTimeout(3 * DEADLINE_MS + STEPS * 20_000);

describe('tabs over one connection', () => {
  let server: TabsServer;

  beforeEach(async () => {
    server = new TabsServer();
    await server.start();
  });
  afterEach(() => server.stop());

  it('lose and double nothing in Firefox, as the one that holds it is reloaded, and left', async () => {
    const names = ['a', 'b', 'c'];
    const firefox = openFirefox(...names.map((name, n) => `${server.base}/page/${n}?name=${name}`));
    const { reports, orders } = server;
    const leader = () => [...reports].find(([, { leads }]) => leads)?.[0];
    const publish = async (count: number) => {
      for (let n = 0; n < count; n += 1) {
        await server.publish(n % PAGES);
      }
    };
    const haveAll = (count: number) =>
      waitFor(
        () =>
          [...reports.values()].filter(({ total }) => total === server.total).length === count &&
          server.connections === 1,
        { timeoutMs: DEADLINE_MS, describe: () => JSON.stringify([server.total, ...reports]) },
      );
    try {
      await publish(50);
      await haveAll(3);
      for (const [order, left] of [
        ['reload', 3],
        ['leave', 2],
      ] as const) {
        await waitFor(() => leader() !== undefined, { timeoutMs: DEADLINE_MS });
        const name = leader()!;
        await publish(50);
        orders.set(name, order);
        await waitFor(() => !orders.has(name), { timeoutMs: DEADLINE_MS });
        reports.delete(name);
        await publish(50);
        await haveAll(left);
      }
      expect([...reports.values()].flatMap(({ faults }) => faults)).toEqual([]);
    } finally {
      await firefox.close();
    }
  });

  describe('in Chromium', () => {
    let browser: Browser;
    let journey: TabsJourney;

    beforeAll(async () => {
      browser = await launchChromium({ keepsPages: true });
    });
    afterAll(() => browser?.close());
    afterEach(() => journey?.end());

    it(`lose and double nothing, whatever happens to one of ${PAGES} (seed ${SEED})`, async () => {
      journey = await TabsJourney.begin(server, browser, new Random(SEED));
      journey.publish();
      if (STEPS === 0) {
        for (const act of ['crash', 'back', 'restart', 'reload', 'close', 'hang'] as const) {
          await journey.step(act);
        }
      }
      for (let n = 0; n < STEPS; n += 1) {
        await journey.step();
      }
      expect(await journey.settle()).toEqual([]);
      expect(journey.fromCache > 0 || !journey.done.some((act) => act.startsWith('back'))).toBe(true);
      if (STEPS > 0) {
        const { done, fromCache, gapsMs } = journey;
        const takeoversMs = journey.takeovers();
        const told = { seed: SEED, total: server.total, done, fromCache, gapsMs, takeoversMs };
        console.log(JSON.stringify(told));
      }
    });
  });
});
