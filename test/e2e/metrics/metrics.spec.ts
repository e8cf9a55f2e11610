import { afterEach, describe, expect, it } from '@jest/globals';
import { Registry } from 'prom-client';
import { collectSseMetrics, SsePrometheusModule } from 'nestjs-event-stream/prometheus';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createTopicsApp } from '../topics/topics-app.js';
import type { TopicsApp } from '../topics/topics-app.js';

const [express] = platforms;

/** The values of a scrape by name and labels, without those that are 0. */
async function scrape(registry: Registry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line && !line.startsWith('#'));
  const values = lines.map((line) => {
    const at = line.lastIndexOf(' ');
    return [line.slice(0, at), Number(line.slice(at + 1))] as const;
  });
  return Object.fromEntries(values.filter(([, value]) => value !== 0));
}

/** Makes something of each kind happen: two clients, one of which comes back twice, and publishes of each outcome. */
async function useAll(context: TopicsApp): Promise<void> {
  const { app, sse } = context;
  const staying = await open(app, '/sse');
  const leaving = await open(app, '/connect');
  await staying.next();
  const { id } = await leaving.next();
  await leaving.close();
  await waitFor(() => sse.metrics.connections.open === 1);
  await context.publish('a', 'one', 'two');
  await context.publish('secret', 'three');
  await expect(sse.publish('a b', 1)).rejects.toMatchObject({ code: 'topic-invalid' });
  await staying.take(2);
  const back = await open(app, '/connect', { lastEventId: id! });
  await back.take(2);
  const lost = await open(app, '/connect', { lastEventId: 'of-another-log' });
  await lost.next();
  await waitFor(() => sse.metrics.topics.behind === 0);
  await expect(open(app, '/connect')).resolves.toMatchObject({ status: 200 });
}

const OPTIONS = { maxConnections: 3, authorize: (topic: string) => topic !== 'secret' };

describe('the metrics of an app', () => {
  afterEach(closeAll);

  it('count what has happened since its start', async () => {
    const context = await createTopicsApp(express!, OPTIONS);
    await useAll(context);
    const { connections, sent, topics, log } = context.sse.metrics;
    expect(connections).toMatchObject({ open: 3, flushing: 0, isDraining: false, opened: 4 });
    expect(connections.closed).toEqual({
      client: 1,
      server: 0,
      slow: 0,
      expired: 0,
      revoked: 0,
      shutdown: 0,
      error: 0,
    });
    expect(connections.turnedAway).toMatchObject({ capacity: 1, limit: 0, shutdown: 0 });
    expect(connections.lifetimes).toMatchObject({ count: 1, counts: [1, ...Array<number>(10).fill(0)] });
    expect(sent.events).toBe(4);
    expect(sent.bytes).toBeGreaterThan(200);
    expect(topics).toMatchObject({
      followers: 3,
      behind: 0,
      maxLagEvents: 0,
      started: { new: 2, ring: 0, log: 1 },
      resets: { invalid: 1, trimmed: 0 },
      withheld: 2,
      published: { published: 3, refused: 1, failed: 0, unknown: 0 },
      publishing: { count: 3 },
      pendingEvents: 0,
    });
    expect(topics.fanOut.count).toBeGreaterThan(0);
    expect(log).toMatchObject({ state: 'ready', received: 3, lagEvents: 0 });
  });

  it('count the members of topics, and those that were refused', async () => {
    const context = await createTopicsApp(express!, { presence: { maxMembersPerTopic: 1 } });
    const { app, sse } = context;
    const none = { members: 0, ownMembers: 0, ownTopics: 0, refused: 0 };
    expect(sse.metrics.presence).toEqual(none);
    const enter = (id: string) =>
      context.follow((connection) => connection.follow('rooms.1', { presence: { id } }));
    enter('anna');
    await (await open(app, '/sse')).next();
    await waitFor(() => sse.metrics.presence.members === 1, { timeoutMs: 20_000 });
    enter('ben');
    expect((await open(app, '/sse')).status).not.toBe(200);
    expect(sse.metrics.presence).toEqual({ members: 1, ownMembers: 1, ownTopics: 1, refused: 1 });
  });

  it('are a copy, which JSON can hold', async () => {
    const context = await createTopicsApp(express!);
    const before = context.sse.metrics;
    const text = JSON.stringify(before);
    await context.publish('a', 1);
    expect(JSON.stringify(before)).toBe(text);
    expect(JSON.parse(text)).toEqual(before);
  });

  it('say that the app is closing while new clients are still served', async () => {
    const { app, sse, registry } = await createTopicsApp(express!, { drain: { delayMs: 1 } });
    expect(sse.metrics.connections.isDraining).toBe(false);
    // As the app does when it closes. In this turn the delay cannot be over, however slow the machine is.
    const drained = registry.drain(() => Promise.resolve());
    expect(sse.metrics.connections.isDraining).toBe(true);
    expect(registry.refusal()).toBeUndefined();
    await drained;
    expect(registry.refusal()).toMatchObject({ reason: 'shutdown' });
    await app.close();
    expect(sse.metrics.connections.isDraining).toBe(true);
  });

  it('are exported by prom-client', async () => {
    const context = await createTopicsApp(express!, OPTIONS);
    const registry = new Registry();
    collectSseMetrics(context.sse, { registry });
    await useAll(context);
    const values = await scrape(registry);
    expect(values).toMatchObject({
      sse_connections: 3,
      sse_connections_opened_total: 4,
      'sse_connections_closed_total{reason="client"}': 1,
      'sse_connections_turned_away_total{reason="capacity"}': 1,
      'sse_connection_duration_seconds_bucket{le="1"}': 1,
      'sse_connection_duration_seconds_bucket{le="+Inf"}': 1,
      sse_connection_duration_seconds_count: 1,
      sse_events_sent_total: 4,
      sse_followers: 3,
      'sse_followers_started_total{from="new"}': 2,
      'sse_followers_started_total{from="log"}': 1,
      'sse_resets_total{reason="invalid"}': 1,
      sse_events_withheld_total: 2,
      'sse_publishes_total{outcome="published"}': 3,
      'sse_publishes_total{outcome="refused"}': 1,
      sse_publish_duration_seconds_count: 3,
      'sse_log_state{state="ready"}': 1,
      sse_log_received_total: 3,
    });
    expect(values['sse_sent_bytes_total']).toBe(context.sse.metrics.sent.bytes);
    expect(values['sse_publish_duration_seconds_sum']).toBeLessThan(10);
  });

  it('are exported by a module for as long as the app runs', async () => {
    const registry = new Registry();
    const imports = [SseModule.forRoot(), SsePrometheusModule.forRoot({ registry })];
    const app = await express!.create({ imports });
    expect(registry.getMetricsAsArray().length).toBeGreaterThan(20);
    expect(() => collectSseMetrics(app.get(SseService), { registry })).toThrow(
      'The registry has a metric sse_connections already.',
    );
    await app.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });
});
