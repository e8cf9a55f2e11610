import { Controller, Get, Param, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseTracer } from 'nestjs-event-stream';
import { SseOpenTelemetryModule } from 'nestjs-event-stream/opentelemetry';
import type { SseOpenTelemetryModuleOptions } from 'nestjs-event-stream/opentelemetry';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer('the app');

/** What the sources of runs throw, by the run's id. A library may put anything on an error. */
const FAILURES: Readonly<Record<string, Error>> = {
  failing: new Error('The model is away.'),
  odd: Object.assign(new Error(), { name: 'N'.repeat(1_000), message: { code: 42 } }),
};

@Controller()
class Routes {
  constructor(private readonly sse: SseService) {}

  @Get('follow/:pattern')
  follow(@Param('pattern') pattern: string, @Res() res: object): void {
    this.sse.connect(res).follow(pattern);
  }

  @Get('states')
  states(@Res() res: object): void {
    this.sse.connect(res).follow('orders.*', { snapshot: () => ({ data: 'all' }) });
  }

  @Get('late-states')
  lateStates(@Res() res: object): void {
    this.sse.connect(res).follow('orders.*', { snapshot: () => new Promise(() => undefined) });
  }

  @Post('runs/:id')
  async ask(@Param('id') id: string, @Res() res: object): Promise<void> {
    await this.sse.runs.start(id, async function* () {
      yield 'one';
      tracer.startSpan('of the model').end();
      if (id in FAILURES) {
        throw FAILURES[id]!;
      }
      yield 'two';
    });
    await this.sse.runs.attach(res, id);
  }
}

async function createApp(options: SseOpenTelemetryModuleOptions = {}): Promise<INestApplication> {
  return platforms[0]!.create({
    imports: [SseModule.forRoot({ ringEvents: 2 }), SseOpenTelemetryModule.forRoot(options)],
    controllers: [Routes],
  });
}

/** The ended spans of a name, once there are as many. */
async function spansOf(name: string, count = 1): Promise<ReadableSpan[]> {
  const found = () => exporter.getFinishedSpans().filter((span) => span.name === name);
  await waitFor(() => found().length >= count, { timeoutMs: 20_000 });
  return found();
}

describe('the spans of an app', () => {
  beforeAll(() => provider.register());
  beforeEach(() => exporter.reset());
  afterEach(closeAll);
  afterAll(async () => {
    await provider.shutdown();
    trace.disable();
    context.disable();
  });

  it('are those of its publishes, within what publishes', async () => {
    const app = await createApp({ tracerProvider: provider });
    const sse = app.get(SseService);
    const parent = tracer.startSpan('order');
    const position = await context.with(trace.setSpan(context.active(), parent), () =>
      sse.publish('orders.42', { data: 1 }),
    );
    const [span] = await spansOf('publish');
    expect(span!.parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
    expect(span!.kind).toBe(SpanKind.CLIENT);
    expect(span!.instrumentationScope.name).toBe('nestjs-event-stream');
    expect(span!.status).toEqual({ code: SpanStatusCode.UNSET });
    expect(span!.attributes).toEqual({
      'messaging.system': 'nestjs_event_stream',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'orders.42',
      'messaging.message.id': position,
    });

    exporter.reset();
    await expect(sse.publish(`orders ${'x'.repeat(1_000)}`, 1)).rejects.toMatchObject({
      code: 'topic-invalid',
    });
    const [failed] = await spansOf('publish');
    expect(failed!.status.code).toBe(SpanStatusCode.ERROR);
    expect(failed!.attributes).toMatchObject({ 'error.type': 'topic-invalid' });
    expect(failed!.attributes['messaging.destination.name']).toHaveLength(256);
  });

  it('have the template of a topic in their name, if the app gives one', async () => {
    const app = await createApp({
      tracerProvider: provider,
      topicTemplate: (topic) => (topic.startsWith('orders.') ? 'orders.{id}' : undefined),
    });
    await app.get(SseService).publish('orders.42', 1);
    await app.get(SseService).publish('stock', 1);
    const [span] = await spansOf('publish orders.{id}');
    expect(span!.attributes['messaging.destination.template']).toBe('orders.{id}');
    expect((await spansOf('publish'))[0]!.attributes).not.toHaveProperty('messaging.destination.template');
  });

  it('have a name of at most 256 characters of a template, also for what is no topic', async () => {
    const app = await createApp({ tracerProvider: provider, topicTemplate: (topic) => topic });
    await expect(app.get(SseService).publish('x'.repeat(1_000), 1)).rejects.toMatchObject({
      code: 'topic-invalid',
    });
    const [span] = await spansOf(`publish ${'x'.repeat(256)}`);
    expect(span!.attributes['messaging.destination.template']).toHaveLength(256);
  });

  it('are those of clients that resume, with what was replayed', async () => {
    const app = await createApp({ tracerProvider: provider });
    const sse = app.get(SseService);
    const first = await open(app, '/follow/orders.*');
    const { id } = await first.next();
    await first.close();
    for (const n of [1, 2, 3, 4]) {
      await sse.publish('orders.1', n);
    }
    const back = await open(app, '/follow/orders.*', { lastEventId: id! });
    await back.take(4);
    const [resumed] = await spansOf('resume');
    expect(resumed!.kind).toBe(SpanKind.CLIENT);
    expect(resumed!.attributes).toEqual({
      'messaging.system': 'nestjs_event_stream',
      'messaging.operation.name': 'resume',
      'messaging.operation.type': 'receive',
      'messaging.batch.message_count': 4,
      'sse.resume.outcome': 'resumed',
      'sse.resume.from': 'log',
      'sse.resume.patterns': ['orders.*'],
    });

    exporter.reset();
    await (await open(app, '/follow/orders.*', { lastEventId: 'of-another-log' })).next();
    await (await open(app, '/states', { lastEventId: 'of-another-log' })).next();
    const lost = await spansOf('resume', 2);
    expect(lost.map(({ attributes }) => attributes['sse.resume.outcome'])).toEqual(['reset', 'snapshot']);
    expect(lost.map(({ attributes }) => attributes['sse.reset.reason'])).toEqual(['invalid', 'invalid']);
    exporter.reset();
    await (await open(app, '/late-states', { lastEventId: 'of-another-log' })).close();
    const [left] = await spansOf('resume');
    expect(left!.attributes['sse.resume.outcome']).toBe('left');
    // Clients without an id have nothing to resume, and what is sent to live ones has no span.
    exporter.reset();
    const live = await open(app, '/follow/orders.*');
    await live.next();
    await sse.publish('orders.1', 5);
    await live.next();
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['publish']);
  });

  it('are those of runs, of which those of their sources are children', async () => {
    const app = await createApp({ tracerProvider: provider });
    await (await open(app, '/runs/answer', { method: 'POST' })).untilEnd();
    const [run] = await spansOf('run');
    const [model] = await spansOf('of the model');
    expect(model!.parentSpanContext?.spanId).toBe(run!.spanContext().spanId);
    expect(run!.kind).toBe(SpanKind.INTERNAL);
    expect(run!.attributes).toEqual({
      'sse.run.id': 'answer',
      'sse.run.reason': 'done',
      'sse.run.events': 2,
      'sse.run.bytes': 6,
    });

    exporter.reset();
    await (await open(app, '/runs/failing', { method: 'POST' })).untilEnd();
    const [failed] = await spansOf('run');
    expect(failed!.attributes).toMatchObject({ 'sse.run.reason': 'error', 'error.type': 'Error' });
    expect(failed!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'The model is away.' });
  });

  it('end, and stay short, whatever a source throws', async () => {
    const app = await createApp({ tracerProvider: provider });
    await (await open(app, '/runs/odd', { method: 'POST' })).untilEnd();
    const [odd] = await spansOf('run');
    expect(odd!.attributes).toMatchObject({ 'sse.run.reason': 'error', 'error.type': 'N'.repeat(256) });
    expect(odd!.status).toEqual({ code: SpanStatusCode.ERROR, message: expect.stringContaining('code: 42') });
  });

  it('go to the global provider, as long as the app runs', async () => {
    const app = await createApp();
    const sse = app.get(SseService);
    await sse.publish('a', 1);
    await spansOf('publish');
    expect(() => sse.traceWith({} as SseTracer)).toThrow('traceWith() was called before');
    await app.close();
    exporter.reset();
    await expect(sse.publish('a', 1)).rejects.toMatchObject({ code: 'closed' });
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  it('are none without a provider, or where the app wants none: no tracer is asked at all', async () => {
    trace.disable();
    const without = await createApp();
    trace.setGlobalTracerProvider(provider);
    const unwanted = await createApp({ spans: false });
    for (const app of [without, unwanted]) {
      const sse = app.get(SseService);
      await sse.publish('a', 1);
      expect(exporter.getFinishedSpans()).toEqual([]);
      const asked: string[] = [];
      const end = sse.traceWith({
        publish: (topic) => {
          asked.push(topic);
          throw new Error('A tracer that fails.');
        },
      } as Partial<SseTracer> as SseTracer);
      // It changes nothing that is measured.
      await sse.publish('b', 1);
      end();
      await sse.publish('c', 1);
      expect(asked).toEqual(['b']);
    }
  });
});
