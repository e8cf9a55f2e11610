import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import type { Browser, Locator, Page } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { ClusterProcess } from './cluster-process.js';
import { DEADLINE_MS, ROOT, SAMPLE, until } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

/** What the page shows of an event, and what the log has of it: sequence, instance, number. */
type Seen = [sequence: number, instance: string, n: number];

const SCRIPT = join(SAMPLE, 'dist/cluster/main.js');
const ON_POSTGRES = ['--instances', '2', '--log', 'postgres'];
const LOGGED = `
  select e.sequence, e.data
    from sse_sample.events e join sse_sample.logs l on l.id = e.log_id
   where l.name = '' and e.topic like 'metrics.%' and e.sequence between $1 and $2
   order by e.sequence`;

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

describe('the dashboard on several instances', () => {
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
  async function loggedInRedis(first: number, last: number): Promise<Seen[]> {
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

  /** Rows of the cluster's PostgreSQL. */
  async function select<Row extends object>(statement: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client(`postgres://sample@127.0.0.1:${cluster!.portOf('PostgreSQL')}/postgres`);
    await client.connect();
    try {
      return (await client.query<Row>(statement, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** What was published from one sequence to another, by what PostgreSQL has. */
  async function loggedInPostgres(first: number, last: number): Promise<Seen[]> {
    const rows = await select<{ sequence: string; data: string }>(LOGGED, [first, last]);
    return rows.map(({ sequence, data }) => {
      const { instance, n } = JSON.parse(data) as { instance: string; n: number };
      return [Number(sequence), instance, n];
    });
  }

  async function order(item: string, end: 'commit' | 'roll back'): Promise<void> {
    await page.getByLabel('Order', { exact: true }).fill(item);
    await page.getByRole('button', { name: `Place and ${end}` }).click();
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
    expect(got).toEqual(await loggedInRedis(got[0]![0], got.at(-1)![0]));
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

  it('comes back to them when all of them were gone at once, and misses nothing, on PostgreSQL', async () => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, ...ON_POSTGRES], ROOT);
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
    expect(got).toEqual(await loggedInPostgres(got[0]![0], got.at(-1)![0]));
    for (const id of ['missing', 'twice', 'resets']) {
      expect(await numberOf(id)).toBe(0);
    }

    const orders = page.locator('#orders tbody');
    await order('Tea', 'roll back');
    await orders.getByText('rolled back').waitFor();
    await order('Coffee', 'commit');
    await orders.getByText('arrived').waitFor();
    await orders.getByText('committed').waitFor();
    // In the log the one that was rolled back would stand before it.
    expect(await row('placed').locator('span').allTextContents()).toEqual(['Order 2: Coffee']);
    expect(await orders.getByRole('row').filter({ hasText: 'Tea' }).textContent()).toMatch(
      /rolled back *none$/,
    );
    expect(await select('select item from sse_sample_orders')).toEqual([{ item: 'Coffee' }]);

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
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, ...ON_POSTGRES], ROOT);
    const tree = cluster.tree();
    process.kill(cluster.pid, 'SIGKILL');

    await cluster.untilNothingIsLeft(tree);
    // The script and its guard, PostgreSQL and its processes, two instances, nginx and its worker.
    expect(tree.length).toBeGreaterThanOrEqual(12);
  });

  it.each([
    ['--instances', '1', 'a number from 2 to 26'],
    ['--instances', 'three', 'a number from 2 to 26'],
    ['--log', 'mysql', 'redis or postgres'],
  ])('refuses %s %s', async (name, value, allowed) => {
    cluster = await ClusterProcess.start(process.execPath, [SCRIPT, name, value], ROOT);

    expect(cluster.exitCode).toBe(1);
    expect(cluster.output).toBe(`${name} must be ${allowed}, got ${value}.\n`);
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
