import http from 'node:http';
import { metrics } from '@opentelemetry/api';
import type { HrTime } from '@opentelemetry/api';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SseOpenTelemetryModule, StreamsInHttp } from 'nestjs-event-stream/opentelemetry';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { MeasuredRoutes } from './measured.routes.js';

/** Collects when a test asks. */
class Reader extends MetricReader {
  /** The data points of a metric: their value, with their attributes. */
  async read(name: string): Promise<{ value: unknown; attributes: object }[]> {
    const { resourceMetrics } = await this.collect();
    const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    const points = all.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    return points.map(({ value, attributes }) => ({ value, attributes }));
  }

  protected override async onForceFlush(): Promise<void> {
    return;
  }

  protected override async onShutdown(): Promise<void> {
    return;
  }
}

/** Subtracts before it divides: seconds since 1970 as one number are exact to a fourth of a microsecond only. */
function secondsBetween([seconds, nanoseconds]: HrTime, [endSeconds, endNanoseconds]: HrTime): number {
  return endSeconds - seconds + (endNanoseconds - nanoseconds) / 1e9;
}

describe('OpenTelemetry', () => {
  afterEach(closeAll);

  it('observes the metrics for as long as the app runs', async () => {
    const reader = new Reader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    const app = await platforms[0]!.create({
      imports: [SseModule.forRoot(), SseOpenTelemetryModule.forRoot({ meterProvider })],
      controllers: [MeasuredRoutes],
    });
    const stream = await open(app, '/connect');
    await stream.next();
    await app.get(SseService).publish('a', 'one');
    await stream.next();
    expect(await reader.read('sse.connections')).toEqual([{ value: 1, attributes: {} }]);
    expect(await reader.read('sse.events.sent')).toEqual([{ value: 1, attributes: {} }]);
    expect(await reader.read('sse.publishes')).toContainEqual({
      value: 1,
      attributes: { outcome: 'published' },
    });
    expect(await reader.read('sse.publish.duration.count')).toEqual([{ value: 1, attributes: {} }]);
    expect(await reader.read('sse.log.state')).toContainEqual({ value: 1, attributes: { state: 'ready' } });
    await app.close();
    // The SDK keeps the last values. Nothing is read from the app any more.
    expect(await reader.read('sse.draining')).toEqual([{ value: 0, attributes: {} }]);
    await meterProvider.shutdown();
  });

  describe.each(platforms.filter(({ http2 }) => !http2))(
    'instruments requests to a server, on $name',
    (platform) => {
      const spans = new InMemorySpanExporter();
      const tracers = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
      const reader = new Reader();
      const meterProvider = new MeterProvider({ readers: [reader] });
      const streams = new StreamsInHttp();
      // Both histograms: that of the stable conventions, in seconds, and the one before it, in milliseconds.
      process.env['OTEL_SEMCONV_STABILITY_OPT_IN'] = 'http/dup';
      const instrumentation = new HttpInstrumentation({
        responseHook: streams.responseHook,
        disableOutgoingRequestInstrumentation: true,
        enabled: false,
      });
      // What registerInstrumentations() does with a module that is loaded after it.
      const patches = instrumentation.init().filter(({ name }) => name === 'http');
      const durations = async (name: string) => {
        const points = (await reader.read(name)).map(({ value }) => value as { count: number; sum: number });
        return {
          count: points.reduce((all, { count }) => all + count, 0),
          sum: points.reduce((all, { sum }) => all + sum, 0),
        };
      };

      beforeAll(() => {
        tracers.register();
        instrumentation.setTracerProvider(tracers);
        instrumentation.setMeterProvider(streams.measure(meterProvider));
        patches.forEach((module) => module.patch?.(http));
      });

      afterAll(async () => {
        patches.forEach((module) => module.unpatch?.(http));
        await Promise.all([tracers.shutdown(), meterProvider.shutdown()]);
        metrics.disable();
      });

      it.each(['/connect', '/sse'])('with %s as one that lasted until its headers', async (path) => {
        spans.reset();
        const app = await platform.create({ imports: [SseModule.forRoot()], controllers: [MeasuredRoutes] });
        const names = ['http.server.request.duration', 'http.server.duration'];
        const [before, beforeMs] = await Promise.all(names.map(durations));
        const stream = await open(app, path);
        await stream.close();
        await waitFor(() => spans.getFinishedSpans().length === 1);
        const [span] = spans.getFinishedSpans();
        expect(span!.attributes).toMatchObject({ 'sse.stream': true });
        expect(span!.events.map(({ name }) => name)).toEqual(['sse.stream.open']);
        // The client leaves after it has got the headers: the whole life is longer than the time until they were sent.
        const untilHeaders = secondsBetween(span!.startTime, span!.events[0]!.time);
        expect(secondsBetween(span!.startTime, span!.endTime)).toBeGreaterThan(untilHeaders);
        const [after, afterMs] = await Promise.all(names.map(durations));
        expect(after!.count).toBe(before!.count + 1);
        expect(after!.sum - before!.sum).toBeLessThanOrEqual(untilHeaders);
        expect(afterMs!.sum - beforeMs!.sum).toBeLessThanOrEqual(untilHeaders * 1_000);
      });

      it('with other requests as they are', async () => {
        spans.reset();
        const app = await platform.create({ imports: [SseModule.forRoot()], controllers: [MeasuredRoutes] });
        const plain = await open(app, '/plain');
        await plain.untilEnd();
        await waitFor(() => spans.getFinishedSpans().length === 1);
        expect(spans.getFinishedSpans()[0]!.attributes).not.toHaveProperty('sse.stream');
      });
    },
  );
});
