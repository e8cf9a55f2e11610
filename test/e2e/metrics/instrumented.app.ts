/**
 * Apps under the usual instrumentations of OpenTelemetry and a usual histogram of requests: first as everybody has them,
 * then, after `/after`, with what keeps streams out of their figures.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import type { DataPoint } from '@opentelemetry/sdk-metrics';
import { patchNest } from '../hostile/tracers.js';

/** How many requests a histogram has, and the seconds of all. */
export interface Figures {
  readonly count: number;
  readonly seconds: number;
}

/** What an app's own figures say of its requests. */
export interface Seen {
  /** By the instrumentation: of all apps of the process. */
  readonly http: Figures;
  readonly middleware: Figures;
  /** The names of the spans, and whether the one of the request says that it is a stream. */
  readonly spans: string[];
  readonly isStream: boolean;
}

// Its metrics are those of the stable conventions.
process.env['OTEL_SEMCONV_STABILITY_OPT_IN'] = 'http';
const need = createRequire(import.meta.url);
const { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = need(
  '@opentelemetry/sdk-trace-node',
) as typeof import('@opentelemetry/sdk-trace-node');
const { MeterProvider, MetricReader } = need(
  '@opentelemetry/sdk-metrics',
) as typeof import('@opentelemetry/sdk-metrics');
const { registerInstrumentations } = need(
  '@opentelemetry/instrumentation',
) as typeof import('@opentelemetry/instrumentation');
const { HttpInstrumentation } = need(
  '@opentelemetry/instrumentation-http',
) as typeof import('@opentelemetry/instrumentation-http');
const { NestInstrumentation } = need(
  '@opentelemetry/instrumentation-nestjs-core',
) as typeof import('@opentelemetry/instrumentation-nestjs-core');

class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {
    return;
  }

  protected override async onShutdown(): Promise<void> {
    return;
  }
}

const exporter = new InMemorySpanExporter();
const tracerProvider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const reader = new Reader();
const meterProvider = new MeterProvider({ readers: [reader] });
const http = new HttpInstrumentation({
  // What the test asks of this process is no request of its apps.
  ignoreIncomingRequestHook: ({ headers }) => headers['x-test'] !== undefined,
});
const nest = new NestInstrumentation();
tracerProvider.register();
registerInstrumentations({ tracerProvider, meterProvider, instrumentations: [http, nest] });
need('http');
patchNest(nest);

// Nest, and what loads it, comes after the instrumentations, as in an app that is started with --import.
const { startApps } = await import('./instrumented.apps.js');
const { StreamsInHttp } = await import('nestjs-event-stream/opentelemetry');
const apps = await startApps();

function keepStreamsOut(): void {
  const streams = new StreamsInHttp();
  http.setConfig({ ...http.getConfig(), responseHook: streams.responseHook });
  http.setMeterProvider(streams.measure(meterProvider));
  apps.forEach((app) => app.measureUntilAnswered());
}

async function seen(port: number): Promise<Seen> {
  const { resourceMetrics } = await reader.collect();
  const points = resourceMetrics.scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .filter(({ descriptor }) => descriptor.name === 'http.server.request.duration')
    .flatMap(({ dataPoints }): readonly DataPoint<unknown>[] => dataPoints)
    .map(({ value }) => value as { count: number; sum?: number });
  const spans = exporter.getFinishedSpans();
  const root = spans.find(({ attributes }) => Number(attributes['server.port']) === port);
  const ofRequest = spans.filter((span) => span.spanContext().traceId === root?.spanContext().traceId);
  return {
    http: {
      count: points.reduce((sum, { count }) => sum + count, 0),
      seconds: points.reduce((all, { sum = 0 }) => all + sum, 0),
    },
    middleware: await apps.find((app) => app.port === port)!.figures(),
    spans: ofRequest.map(({ name }) => name).sort(),
    isStream: root?.attributes['sse.stream'] === true,
  };
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
  void answer(pathname, searchParams).then(
    (body) => response.end(JSON.stringify(body)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});

async function answer(path: string, query: URLSearchParams): Promise<unknown> {
  switch (path) {
    case '/apps':
      return apps.map(({ platform, port }) => ({ platform, port }));
    case '/seen':
      return seen(Number(query.get('port')));
    case '/forget':
      exporter.reset();
      return {};
    case '/after':
      keepStreamsOut();
      return {};
    default:
      throw new Error(`${path} is not known.`);
  }
}

server.listen(0, '127.0.0.1');
await once(server, 'listening');
console.log(`listening on ${(server.address() as AddressInfo).port}`);
