import { VersioningType } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import { SseModule } from 'nestjs-event-stream';
import { SseInspectorModule } from 'nestjs-event-stream/inspector';
import { openSse } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import type { ConnectionRow, KeyRow, RunRow, TopicRow } from '../../../lib/inspector/protocol.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createInspectorApp, GUARDED, InspectorApp, OWN_HEADERS } from './inspector-app.js';

const [express] = platforms;
/** As many as a page gets in ten seconds. */
const EVENTS = 1_000;

describe('the inspector without a guard', () => {
  const environment = process.env['NODE_ENV'];
  afterEach(async () => {
    process.env['NODE_ENV'] = environment;
    await closeAll();
  });

  it('keeps an app from starting, with what to do', async () => {
    process.env['NODE_ENV'] = 'production';
    const imports = [SseModule.forRoot(), SseInspectorModule.forRoot()];
    await expect(express!.create({ imports })).rejects.toMatchObject({
      code: 'misuse',
      message: expect.stringContaining('NODE_ENV is "production"') as unknown,
    });
  });

  it('answers this machine in development, and nothing that came through a proxy', async () => {
    process.env['NODE_ENV'] = 'development';
    const { app } = await createInspectorApp(express!, {}, {});
    const url = `${baseOf(app)}/sse-inspector`;
    expect((await fetch(url)).status).toBe(200);
    expect((await fetch(url, { headers: { 'x-forwarded-for': '10.0.0.1' } })).status).toBe(403);
  });
});

describe.each(platforms.filter(({ http2 }) => !http2))('the inspector on $name', (platform) => {
  let inspector: InspectorApp;
  let client: SseTestStream;
  beforeAll(async () => {
    inspector = await createInspectorApp(platform, {}, GUARDED, {
      // What an app wraps around its answers is not around the inspector's.
      configure: (app) =>
        app.useGlobalInterceptors({
          intercept: (_, next) => next.handle().pipe(map((data: unknown) => ({ data }))),
        }),
    });
    client = await inspector.follow('orders.1', 'anna');
    await client.next();
  });
  afterAll(closeAll);

  it('refuses each of its routes to those whom its guard does not let in', async () => {
    const routes = ['', '/style.css', '/icon.svg', '/modules/client/index.js', '/stream', '/tail?pattern=a'];
    const headers = { ...OWN_HEADERS, 'x-operator': 'mallory' };
    const statuses = routes.map(async (route) => (await fetch(inspector.at(route), { headers })).status);
    expect(await Promise.all(statuses)).toEqual(routes.map(() => 403));
    for (const path of ['/publish', '/close', '/revoke']) {
      expect((await inspector.post(path, { key: 'anna' }, headers)).status).toBe(403);
    }
  });

  it('serves its page with a policy that runs no script but its own', async () => {
    const headers = { 'x-operator': 'olga' };
    const page = await fetch(inspector.at(), { headers });
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).toMatch(/^default-src 'none'; script-src 'self';/);
    expect(policy).toContain("frame-ancestors 'none'; require-trusted-types-for 'script'");
    expect(policy).not.toContain('unsafe');
    const html = await page.text();
    expect(html).toContain('<script type="module" src="sse/modules/inspector/page/main.js"></script>');
    expect(html).not.toMatch(/<script(?! type="module" src=)|<style|\son\w+=|\sstyle=/);
    for (const [path, type] of [
      ['/style.css', 'text/css; charset=utf-8'],
      ['/icon.svg', 'image/svg+xml; charset=utf-8'],
    ] as const) {
      const file = await fetch(inspector.at(path), { headers });
      expect([file.status, file.headers.get('content-type')]).toEqual([200, type]);
      expect(file.headers.get('x-content-type-options')).toBe('nosniff');
    }
  });

  it.each([
    '/modules/client/..%2f..%2fpackage.json',
    '/modules/inspector/hub.js',
    '/modules/log/ring.js',
    '/modules/inspector/..%2f/hub.js',
    '/modules/wire/constructor',
  ])('serves no file but those of its page: not %s', async (path) => {
    const answer = await fetch(inspector.at(path), { headers: { 'x-operator': 'olga' } });
    expect(answer.status).toBe(404);
  });

  it('gives its data to its own page alone, and does nothing for another', async () => {
    const foreign: Record<string, string>[] = [
      { 'x-operator': 'olga' },
      { ...OWN_HEADERS, origin: 'https://evil.example' },
      { ...OWN_HEADERS, 'sec-fetch-site': 'cross-site' },
    ];
    for (const headers of foreign) {
      for (const route of ['/stream', '/tail?pattern=a']) {
        expect((await fetch(inspector.at(route), { headers })).status).toBe(403);
      }
      for (const path of ['/publish', '/close', '/revoke']) {
        expect(
          (await inspector.post(path, { key: 'anna', topic: 'orders.1', data: '1' }, headers)).status,
        ).toBe(403);
      }
    }
    // As a form of another origin would send it.
    const form = await fetch(inspector.at('/revoke'), {
      method: 'POST',
      headers: { ...OWN_HEADERS, 'content-type': 'application/x-www-form-urlencoded' },
      body: 'key=anna',
    });
    expect(form.status).toBe(415);
    expect(inspector.sse.metrics.revocations.keys).toBe(0);
  });

  it('shows how the instance stands', async () => {
    const stream = await inspector.view();
    const { instances, list } = await inspector.until(stream, () => true);
    expect(list).toBeUndefined();
    expect(instances).toMatchObject([
      {
        isHere: true,
        name: expect.stringMatching(`:${process.pid}$`) as unknown,
        log: { state: 'ready' },
        figures: { followers: 1, behind: 0, revokedKeys: 0 },
        counts: { started: { new: 1 }, resets: { trimmed: 0 } },
      },
    ]);
    await stream.close();
  });

  it('lists connections, topics, keys and runs', async () => {
    const run = await open(inspector.app, '/runs/answer?user=ben', { method: 'POST' });
    await run.next();
    const { rows: connections } = await inspector.list<ConnectionRow>(
      { list: 'connections', filter: 'anna' },
      1,
    );
    expect(connections[0]).toMatchObject({
      keys: ['anna'],
      route: '/follow',
      address: expect.stringContaining('127.0.0.1') as unknown,
      follows: ['orders.1'],
      names: 1,
      isBehind: false,
    });
    const { rows: topics } = await inspector.list<TopicRow>({ list: 'topics' }, 1);
    expect(topics).toEqual([{ kind: 'topics', name: 'orders.1', followers: 1, behind: 0, maxLagEvents: 0 }]);
    const { rows: keys } = await inspector.list<KeyRow>({ list: 'keys' }, 2);
    expect(keys.map(({ key, runs }) => [key, runs])).toEqual([
      ['ben', 1],
      ['anna', 0],
    ]);
    const { rows: runs } = await inspector.list<RunRow>({ list: 'runs' }, 1);
    expect(runs[0]).toMatchObject({ id: 'answer', owner: 'ben', isProducedHere: true, clients: 1 });
    await run.close();
  });

  it('tails a pattern, and publishes an event, as JSON and as text', async () => {
    const tail = await open(inspector.app, `${inspector.path}/tail?pattern=orders.*`, {
      headers: OWN_HEADERS,
    });
    const published = await inspector.post('/publish', {
      topic: 'orders.1',
      type: 'changed',
      data: '{"n":1}',
    });
    expect(published).toMatchObject({
      status: 200,
      answer: { position: expect.stringMatching(/-1-/) as unknown },
    });
    expect(await client.next()).toMatchObject({ type: 'changed', data: '{"n":1}' });
    expect(JSON.parse((await tail.next()).data)).toMatchObject({
      topic: 'orders.1',
      type: 'changed',
      data: '{"n":1}',
      isCut: false,
    });
    await inspector.post('/publish', { topic: 'orders.1', data: 'x'.repeat(5_000) });
    expect((await client.next()).data).toHaveLength(5_000);
    const { data, isCut } = JSON.parse((await tail.next()).data) as { data: string; isCut: boolean };
    expect([data.length, isCut]).toEqual([4_096, true]);
    await tail.close();
  });

  it('leaves out of a tail what is too fast to be read, and says how much', async () => {
    const tail = await open(inspector.app, `${inspector.path}/tail?pattern=fast.>`, { headers: OWN_HEADERS });
    await Promise.all(Array.from({ length: EVENTS }, (_, n) => inspector.sse.publish('fast.a', n)));
    let shown = 0;
    let skipped = 0;
    while (shown + skipped < EVENTS) {
      const { type, data } = await tail.next();
      shown += type === 'tail' ? 1 : 0;
      skipped += type === 'skipped' ? (JSON.parse(data) as { count: number }).count : 0;
    }
    expect([shown + skipped, shown < EVENTS, shown >= 50]).toEqual([EVENTS, true, true]);
    await tail.close();
  });

  it.each<[string, object, number, string]>([
    ['/publish', { topic: 'a b', data: '1' }, 400, 'Topic'],
    ['/publish', { topic: 'a', type: 'reset', data: '1' }, 400, 'reset'],
    ['/publish', { data: '1' }, 400, 'topic must be text'],
    ['/close', { instance: 7, connection: 'c' }, 400, 'instance must be text'],
    ['/revoke', { key: '' }, 400, 'key must be text'],
    ['/revoke', { key: 'x'.repeat(600) }, 400, 'key'],
    ['/revoke', { key: 'x', forMs: 'long' }, 400, 'forMs'],
  ])('answers %s with %j as the mistake that it is', async (path, body, status, message) => {
    expect(await inspector.post(path, body)).toMatchObject({
      status,
      answer: { message: expect.stringContaining(message) as unknown },
    });
  });

  it('answers a tail of what is no pattern with 400', async () => {
    for (const query of ['?pattern=a..b', '', '?pattern=a&pattern=b']) {
      expect((await fetch(inspector.at(`/tail${query}`), { headers: OWN_HEADERS })).status).toBe(400);
    }
  });

  it('closes a connection, and revokes a key', async () => {
    const { rows } = await inspector.list<ConnectionRow>({ list: 'connections', filter: 'orders.1' }, 1);
    const { instance, id } = rows[0]!;
    const closing = { instance, connection: id };
    expect(await inspector.post('/close', closing)).toEqual({ status: 200, answer: { outcome: 'closed' } });
    expect(await inspector.post('/close', closing)).toEqual({ status: 200, answer: { outcome: 'gone' } });
    await client.untilEnd();
    client = await inspector.follow('orders.1', 'anna');
    expect(await inspector.post('/revoke', { key: 'anna' })).toEqual({
      status: 200,
      answer: { key: 'anna' },
    });
    await client.untilEnd();
    expect(client.events.map(({ type }) => type)).toContain('revoked');
    expect((await fetch(`${baseOf(inspector.app)}/follow?topic=a&user=anna`)).status).toBe(204);
  });

  it('opens no more pages than maxPages, and counts those that have left no more', async () => {
    const { app, path } = await createInspectorApp(platform, {}, { ...GUARDED, maxPages: 1 });
    const small = new InspectorApp(app, path);
    const stream = await small.view();
    expect((await fetch(small.at('/stream'), { headers: OWN_HEADERS })).status).toBe(503);
    await stream.close();
    let status = 503;
    while (status === 503) {
      const again = await openSse(app, `${path}/tail?pattern=a`, { headers: OWN_HEADERS });
      status = again.status;
      await again.close();
    }
    expect(status).toBe(200);
  });

  it('is below the global prefix, and has no version', async () => {
    const { app } = await createInspectorApp(platform, {}, GUARDED, {
      configure: (configured) => {
        configured.setGlobalPrefix('api');
        configured.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
      },
    });
    const prefixed = new InspectorApp(app, '/api/internal/sse');
    expect((await fetch(prefixed.at(), { headers: { 'x-operator': 'olga' } })).status).toBe(200);
    const stream = await prefixed.view();
    expect((await prefixed.until(stream, () => true)).instances).toHaveLength(1);
    await stream.close();
  });
});
