import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Controller, Get, Header, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Registry } from 'prom-client';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SsePrometheusModule } from 'nestjs-event-stream/prometheus';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import { PrometheusServer } from './prometheus-server.js';

const registry = new Registry();

@Controller()
class Routes {
  constructor(private readonly sse: SseService) {}

  @Get('follow')
  follow(@Res() res: object): void {
    this.sse.connect(res).follow('orders.42', { presence: { id: 'anna' } });
  }

  @Get('metrics')
  @Header('Content-Type', registry.contentType)
  metrics(): Promise<string> {
    return registry.metrics();
  }
}

/** A bound for a program that hangs. */
const patience = { timeoutMs: 60_000 };

describe('Prometheus from the distribution', () => {
  let app: INestApplication;
  let sse: SseService;
  let prometheus: PrometheusServer;

  beforeAll(async () => {
    app = await platforms[0]!.create({
      imports: [SseModule.forRoot(), SsePrometheusModule.forRoot({ registry })],
      controllers: [Routes],
    });
    sse = app.get(SseService);
    prometheus = await PrometheusServer.start(new URL(baseOf(app)).host);
  }, 240_000);

  afterAll(async () => {
    await prometheus.stop();
    await closeAll();
  });

  /** Waits until a query has a value. A scrape that a busy machine does not answer in time leaves none for a moment. */
  function becomes(expression: string, expected: number): Promise<unknown> {
    let last: unknown;
    return waitFor(async () => (last = (await prometheus.query(expression))[0]?.value) === expected, {
      ...patience,
      describe: () => `${expression} to be ${expected}, and not ${String(last)}`,
    });
  }

  it('has what the app has counted', async () => {
    await becomes('sse_connections', 0);
    await becomes('up{job="app"}', 1);
    const stream = await open(app, '/follow');
    await stream.next();
    await sse.publish('orders.42', 'one');
    await stream.next();
    await expect(sse.publish('no topic', 1)).rejects.toMatchObject({ code: 'topic-invalid' });
    await becomes('sse_publishes_total{outcome="published"}', 1);
    await becomes('sse_publishes_total{outcome="refused"}', 1);
    await becomes('sse_connections', 1);
    await becomes('sse_connections_opened_total', 1);
    await becomes('sse_events_sent_total', 1);
    await becomes('sse_presence_own', 1);
    await becomes('sse_presence_members', 1);
    await becomes('sse_log_state{state="ready"}', 1);
    await becomes('sse_publish_duration_seconds_count', 1);
    // Of a histogram it can make a quantile: the one publish took less than ten seconds.
    await becomes('histogram_quantile(0.99, sse_publish_duration_seconds_bucket) <= bool 10', 1);
    await stream.close();
    await becomes('sse_connections_closed_total{reason="client"}', 1);
    await becomes('sse_connection_duration_seconds_count', 1);
    await becomes('sse_sent_bytes_total', sse.metrics.sent.bytes);
  }, 240_000);

  it('answers each query of the dashboard and of the guide with series of this app', async () => {
    const { panels } = JSON.parse(readFileSync('sample/cluster/grafana.dashboard.json', 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(20);
    for (const query of queries) {
      const expression = query.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m');
      // A rate takes two scrapes.
      await waitFor(async () => (await prometheus.query(expression)).length > 0, {
        ...patience,
        describe: () => `series of ${expression}`,
      });
    }
    expect(await prometheus.query('sse_log_state{state="ready"} == 0')).toEqual([]);
  }, 240_000);

  it('finds nothing against the names and the text', async () => {
    const text = await (await fetch(`${baseOf(app)}/metrics`)).text();
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    });
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });
});
