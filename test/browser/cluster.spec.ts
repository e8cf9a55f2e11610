import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Browser, Locator, Page } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { ClusterProcess } from './cluster-process.js';
import { DEADLINE_MS, ROOT, SAMPLE, until } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

/** What the page shows of an event, and what the log has of it: sequence, instance, number. */
type Seen = [sequence: number, instance: string, n: number];

const SCRIPT = join(SAMPLE, 'dist/cluster/main.js');

let browser: Browser;
let cluster: ClusterProcess | undefined;

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());
afterEach(async () => {
  await cluster?.clear();
  cluster = undefined;
});

describe('the dashboard on three instances', () => {
  let page: Page;
  const row = (kind: string): Locator => page.locator(`#events li.${kind}`);
  const textOf = async (selector: string): Promise<string> => (await page.locator(selector).textContent())!;
  const numberOf = async (id: string): Promise<number> => Number(await textOf(`#${id}`));
  const current = async (): Promise<string> => (await textOf('#instance')).split(',')[0]!;

  /** All events of all instances, as the page got them. */
  async function seen(): Promise<Seen[]> {
    const rows = await page.evaluate<string[][]>(
      `[...document.querySelectorAll('#events li.sample')].map((row) =>
        ['span', 'small'].map((part) => row.querySelector(part).textContent))`,
    );
    return rows.map(([text, id]) => {
      const [, name, n] = /^([A-Z]) (\d+)/.exec(text!)!;
      return [Number(id!.split('-')[1]), name!, Number(n)];
    });
  }

  /** What was published from one sequence to another, by what Redis has. */
  async function logged(first: number, last: number): Promise<Seen[]> {
    const redis = new Redis(cluster!.portOf('Redis'), '127.0.0.1');
    const entries = await redis.xrange('{sse-sample:topics}:events', first, last);
    redis.disconnect();
    return entries
      .map(([id, fields]) => [Number(id.split('-')[0]), fields] as const)
      .filter(([, fields]) => fields.some((field) => field.startsWith('metrics.')))
      .map(([sequence, fields]) => {
        const data = fields.find((field) => field.startsWith('{'))!;
        const { instance, n } = JSON.parse(data) as { instance: string; n: number };
        return [sequence, instance, n];
      });
  }

  async function killCurrent(): Promise<[from: string, to: string]> {
    const from = await current();
    const lives = await row('live').count();
    await page.getByRole('button', { name: 'Kill this instance' }).click();
    await row('live').nth(lives).waitFor();
    const received = await numberOf('received');
    await until('it has gone on', async () => (await numberOf('received')) > received + 5);
    return [from, await current()];
  }

  it('goes on on another one when that which serves it is killed, twice, and misses nothing', async () => {
    // As a user does.
    cluster = await ClusterProcess.start('npm', ['run', 'start:cluster'], ROOT);
    const visitor = await visit(browser);
    ({ page } = visitor);
    await page.goto(`${cluster.url}/dashboard.html`);
    await row('live').waitFor();

    const first = await killCurrent();
    expect(await textOf('#verdict')).toMatch(
      new RegExp(
        `^${first[0]} was lost\\. \\S+ s later the stream went on, on ${first[1]}\\. Nothing is missing\\.$`,
      ),
    );
    const second = await killCurrent();
    expect(await textOf('#verdict')).toMatch(/^. was lost\. .* Nothing is missing\.$/);

    expect(first[0]).not.toBe(first[1]);
    expect(second[0]).toBe(first[1]);
    expect(second[0]).not.toBe(second[1]);
    expect(await page.locator('#trail li').allTextContents()).toEqual([first[0], ...second]);
    const isBack = (name: string): boolean => cluster!.processesOf(name).length === 2;
    await until('both are back', () => isBack(first[0]) && isBack(second[0]));
    const received = await numberOf('received');
    await until('they publish', async () => (await numberOf('received')) > received + 10);

    const got = await seen();
    expect(got).toEqual(await logged(got[0]![0], got.at(-1)![0]));
    expect(new Set(got.map(([, name]) => name))).toEqual(new Set(['A', 'B', 'C']));
    for (const id of ['missing', 'twice', 'resets']) {
      expect(await numberOf(id)).toBe(0);
    }
    expect(await row('reset').count()).toBe(0);
    expect(await textOf('#log')).toMatch(/^ready, since/);
    // Chromium's own report of the cuts.
    expect(new Set(visitor.complaints)).toEqual(
      new Set([expect.stringContaining('ERR_INCOMPLETE_CHUNKED_ENCODING')]),
    );
    await visitor.leave();

    const tree = cluster.tree();
    // npm in npm, the script and its guard, Redis, three instances, nginx and its worker.
    expect(tree.length).toBeGreaterThanOrEqual(10);
    cluster.pressCtrlC();
    await cluster.untilNothingIsLeft(tree);
    expect(cluster.output).not.toMatch(/ERROR|does not start/);
  });

  it('comes back to them when all of them were gone at once, and misses nothing', async () => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, '--instances', '2'], ROOT);
    const visitor = await visit(browser);
    ({ page } = visitor);
    await page.goto(`${cluster.url}/dashboard.html`);
    await row('live').waitFor();
    // An EventSource would take the proxy's 502 as final.
    const refused = row('error').filter({ hasText: 'answered 502' });

    for (const name of ['A', 'B']) {
      process.kill(cluster.processesOf(name)[0]!, 'SIGKILL');
    }
    await refused.first().waitFor();
    await row('live').nth(1).waitFor();
    const received = await numberOf('received');
    await until('it has gone on', async () => (await numberOf('received')) > received + 5);

    const got = await seen();
    expect(got).toEqual(await logged(got[0]![0], got.at(-1)![0]));
    for (const id of ['missing', 'twice', 'resets']) {
      expect(await numberOf(id)).toBe(0);
    }

    const refusals = await refused.count();
    await page.getByRole('button', { name: 'Drop the network' }).click();
    // By the one that is asked, and by the other one.
    await refused.nth(refusals).waitFor();
    await visitor.leave();

    const tree = cluster.tree();
    cluster.pressCtrlC();
    await cluster.untilNothingIsLeft(tree);
    expect(cluster.exitCode).toBe(0);
  });
});

describe('the script', () => {
  it('leaves nothing behind where it is killed itself', async () => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, '--instances', '2'], ROOT);
    const tree = cluster.tree();
    process.kill(cluster.pid, 'SIGKILL');

    await cluster.untilNothingIsLeft(tree);
    expect(tree.length).toBeGreaterThanOrEqual(7);
  });

  it.each([
    ['--instances', '1'],
    ['--instances', 'three'],
  ])('refuses %s %s', async (...args) => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, ...args], ROOT);

    expect(cluster.exitCode).toBe(1);
    expect(cluster.output).toBe(`--instances must be a number from 2 to 26, got ${args[1]}.\n`);
  });

  it('says what to install where there is no Redis', async () => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT], ROOT, { PATH: '/nowhere' });

    expect(cluster.exitCode).toBe(1);
    expect(cluster.output).toMatch(/^There is no (redis-server|nginx) .* Install it: apt-get install /);
  });

  it('says so where its port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT], ROOT, { PORT: String(port) });
    server.close();

    expect(cluster.exitCode).toBe(1);
    expect(cluster.output).toContain(`Port ${port} is taken. Another one: PORT=8080 npm run start:cluster`);
  });
});
