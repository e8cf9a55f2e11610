import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Controller, Get, Res } from '@nestjs/common';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SseOpenTelemetryModule } from 'nestjs-event-stream/opentelemetry';
import { closeAll, open, platforms } from '../support/apps/platforms.js';

// The parts of opentelemetry-proto, in JSON, that are read here.
interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string };
}

interface DataPoint {
  readonly attributes: readonly Attribute[];
  readonly asInt?: number | string;
  readonly asDouble?: number;
}

interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { readonly dataPoints: readonly DataPoint[]; readonly isMonotonic: boolean };
  readonly gauge?: { readonly dataPoints: readonly DataPoint[] };
}

interface Span {
  readonly name: string;
  readonly kind: number;
  readonly attributes: readonly Attribute[];
}

interface Scope<Items> {
  readonly scope: { readonly name: string };
  readonly metrics: Items extends Metric ? readonly Metric[] : never;
  readonly spans: Items extends Span ? readonly Span[] : never;
}

/** What a collector is sent, by path. */
class Collector {
  readonly #server: Server;
  readonly #received = new Map<string, unknown[]>();

  private constructor() {
    this.#server = createServer((request, response) => {
      void textOf(request).then((text) => {
        const path = request.url!;
        this.#received.set(path, [...(this.#received.get(path) ?? []), JSON.parse(text)]);
        response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
      });
    });
  }

  static async start(): Promise<Collector> {
    const collector = new Collector();
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    return collector;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  metrics(): Metric[] {
    return this.#all<{ resourceMetrics: { scopeMetrics: Scope<Metric>[] }[] }>('/v1/metrics')
      .flatMap(({ resourceMetrics }) => resourceMetrics)
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .filter(({ scope }) => scope.name === 'nestjs-event-stream')
      .flatMap(({ metrics }) => metrics);
  }

  spans(): Span[] {
    return this.#all<{ resourceSpans: { scopeSpans: Scope<Span>[] }[] }>('/v1/traces')
      .flatMap(({ resourceSpans }) => resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans)
      .filter(({ scope }) => scope.name === 'nestjs-event-stream')
      .flatMap(({ spans }) => spans);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #all<T>(path: string): T[] {
    return (this.#received.get(path) ?? []) as T[];
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  request.setEncoding('utf8');
  for await (const part of request) {
    text += part as string;
  }
  return text;
}

function valueOf(metric: Metric | undefined, label?: string): number | undefined {
  const points = (metric?.sum ?? metric?.gauge)?.dataPoints ?? [];
  const point = points.find(({ attributes }) =>
    label === undefined
      ? attributes.length === 0
      : attributes.some(({ value }) => value.stringValue === label),
  );
  return point && Number(point.asInt ?? point.asDouble);
}

@Controller()
class Routes {
  constructor(private readonly sse: SseService) {}

  @Get('follow')
  follow(@Res() res: object): void {
    this.sse.connect(res).follow('orders.*');
  }
}

describe('a collector of OpenTelemetry', () => {
  let collector: Collector;

  beforeAll(async () => {
    collector = await Collector.start();
  });

  afterAll(async () => {
    await closeAll();
    collector.stop();
  });

  it('is sent metrics and spans by the exporters of the SDK', async () => {
    const meterProvider = new MeterProvider({
      readers: [
        new PeriodicExportingMetricReader({
          exporter: new OTLPMetricExporter({ url: collector.url('/v1/metrics') }),
          // It is told when to export.
          exportIntervalMillis: 3_600_000,
        }),
      ],
    });
    const tracerProvider = new NodeTracerProvider({
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: collector.url('/v1/traces') }))],
    });
    const app = await platforms[0]!.create({
      imports: [SseModule.forRoot(), SseOpenTelemetryModule.forRoot({ meterProvider, tracerProvider })],
      controllers: [Routes],
    });
    const sse = app.get(SseService);
    const stream = await open(app, '/follow');
    const { id } = await stream.next();
    await sse.publish('orders.1', 'one');
    await stream.next();
    const back = await open(app, '/follow', { lastEventId: id! });
    await back.next();
    await meterProvider.forceFlush();
    const metrics = new Map(collector.metrics().map((metric) => [metric.name, metric]));
    expect(valueOf(metrics.get('sse.connections'))).toBe(2);
    expect(metrics.get('sse.connections')!.sum!.isMonotonic).toBe(false);
    expect(metrics.get('sse.connections')!.unit).toBe('{connection}');
    expect(valueOf(metrics.get('sse.publishes'), 'published')).toBe(1);
    expect(metrics.get('sse.publishes')!.sum!.isMonotonic).toBe(true);
    expect(valueOf(metrics.get('sse.log.state'), 'ready')).toBe(1);
    expect(valueOf(metrics.get('sse.publish.duration.count'))).toBe(1);
    expect(metrics.get('sse.publish.duration.sum')!.unit).toBe('s');

    await Promise.all([meterProvider.shutdown(), tracerProvider.shutdown()]);
    const spans = collector.spans();
    expect(spans.map(({ name }) => name).sort()).toEqual(['publish', 'resume']);
    const publish = spans.find(({ name }) => name === 'publish')!;
    // SPAN_KIND_CLIENT
    expect(publish.kind).toBe(3);
    expect(publish.attributes).toContainEqual({
      key: 'messaging.destination.name',
      value: { stringValue: 'orders.1' },
    });
  }, 120_000);
});
