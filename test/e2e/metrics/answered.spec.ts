import { Controller, HttpCode, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import promBundle from 'express-prom-bundle';
import { isEventStream, SseModule, SseService, whenAnswered } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Histogram, Registry } from 'prom-client';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';
import { MeasuredRoutes } from './measured.routes.js';

@Controller()
class ShedRoute {
  constructor(private readonly sse: SseService) {}

  @Post('shed')
  @HttpCode(200)
  async shed(@Res() res: object): Promise<void> {
    await this.sse.stream(res, async function* () {
      yield 'never';
    });
  }
}

/** What a usual histogram has observed, by status and whether it was a stream. */
async function observed(histogram: Histogram): Promise<string[]> {
  const { values } = await histogram.get();
  return values
    .filter(({ metricName }) => metricName?.endsWith('_count'))
    .map(({ labels, value }) => `${String(labels['path'])} ${String(labels['status'])}: ${value}`);
}

const NAME = 'http_request_duration_seconds';

/** An app with a histogram of its requests, which is told by `measure` when one is over. */
async function createApp(
  platform: Platform,
  measure: (res: object, stop: () => void) => void,
  maxConnections = 10,
): Promise<{ app: INestApplication; histogram: Histogram }> {
  const histogram = new Histogram({
    name: NAME,
    help: 'Requests.',
    labelNames: ['path', 'status'],
    registers: [new Registry()],
  });
  const app = await platform.create(
    { imports: [SseModule.forRoot({ maxConnections })], controllers: [MeasuredRoutes, ShedRoute] },
    {
      configure: (app) =>
        // On Fastify a middleware is given the responses of Node.
        app.use((req: IncomingMessage, res: ServerResponse, next: () => void) => {
          const stop = histogram.startTimer({ path: req.url ?? '' });
          measure(res, () => stop({ status: res.statusCode }));
          next();
        }),
    },
  );
  return { app, histogram };
}

describe.each(platforms)('a usual histogram of requests on $name', (platform) => {
  afterEach(closeAll);

  it.each(['/connect', '/sse'])('has %s as one that lasted until its headers, once', async (path) => {
    const { app, histogram } = await createApp(platform, whenAnswered);
    const stream = await open(app, path);
    // While the stream is open.
    await waitFor(async () => (await observed(histogram)).length === 1);
    expect(await observed(histogram)).toEqual([`${path} 200: 1`]);
    await stream.close();
    await waitFor(() => app.get(SseService).connections.size === 0);
    await open(app, path);
    await waitFor(async () => (await observed(histogram))[0] === `${path} 200: 2`);
  });

  it('has a stream as one of its whole life without it', async () => {
    const { app, histogram } = await createApp(platform, (res, stop) => {
      (res as ServerResponse).on('close', () => stop());
    });
    const stream = await open(app, '/connect');
    await stream.next();
    expect(await observed(histogram)).toEqual([]);
    await stream.close();
    await waitFor(async () => (await observed(histogram)).length === 1);
  });

  it('has other answers at their end, and clients that were turned away', async () => {
    const streams: boolean[] = [];
    const measure = (res: object, stop: () => void) =>
      whenAnswered(res, () => {
        streams.push(isEventStream(res));
        stop();
      });
    const { app, histogram } = await createApp(platform, measure, 1);
    const plain = await open(app, '/plain');
    await plain.untilEnd();
    await open(app, '/connect');
    await open(app, '/connect');
    await waitFor(async () => (await observed(histogram)).length === 2 && streams.length === 3);
    expect(await observed(histogram)).toEqual(['/plain 200: 1', '/connect 200: 2']);
    expect(streams).toEqual([false, true, true]);
    const refused = await open(app, '/shed', { method: 'POST' });
    expect(refused.status).toBe(503);
    await refused.untilEnd();
    await waitFor(() => streams.length === 4);
    expect(streams[3]).toBe(false);
    expect(await observed(histogram)).toContain('/shed 503: 1');
  });
});

describe('express-prom-bundle', () => {
  afterEach(closeAll);

  it('leaves streams out, and keeps other requests', async () => {
    const bundle = promBundle({
      includePath: true,
      promRegistry: new Registry(),
      bypass: { onFinish: (_req, res) => isEventStream(res) },
    });
    const app = await platforms[0]!.create(
      { imports: [SseModule.forRoot()], controllers: [MeasuredRoutes] },
      { configure: (app) => app.use(bundle) },
    );
    const stream = await open(app, '/connect');
    await stream.close();
    await waitFor(() => app.get(SseService).connections.size === 0);
    await fetch(`${baseOf(app)}/plain`);
    const text = await (await fetch(`${baseOf(app)}/metrics`)).text();
    expect(text).toContain(`${NAME}_count{status_code="200",path="/plain"} 1`);
    expect(text).not.toContain('/connect');
  });
});
