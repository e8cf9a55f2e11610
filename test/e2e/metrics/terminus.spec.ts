import { Controller, Get } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { afterEach, describe, expect, it } from '@jest/globals';
import { memory, SseModule, SseService } from 'nestjs-event-stream';
import type { EventLogFactory, SseModuleOptions } from 'nestjs-event-stream';
import { SseHealthIndicator } from 'nestjs-event-stream/terminus';
import { waitFor } from 'nestjs-event-stream/testing';
import { HealthState } from '../../../lib/engines/index.js';
import { baseOf, closeAll, platforms } from '../../support/apps/platforms.js';
import { Gate } from '../../support/gate.js';

@Controller('ready')
class ReadinessController {
  degradedMs = 5_000;

  constructor(
    private readonly health: HealthCheckService,
    private readonly sse: SseHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  ready() {
    return this.health.check([() => this.sse.isReady('sse', { degradedMs: this.degradedMs })]);
  }
}

function createApp(options: SseModuleOptions): Promise<INestApplication> {
  return platforms[0]!.create({
    imports: [SseModule.forRoot(options), TerminusModule.forRoot({ logger: false })],
    controllers: [ReadinessController],
    providers: [SseHealthIndicator],
  });
}

/** The status of a readiness check, and what the indicator says. */
async function check(app: INestApplication): Promise<{ status: number; sse: object }> {
  const response = await fetch(`${baseOf(app)}/ready`);
  const { details } = (await response.json()) as { details: { sse: object } };
  return { status: response.status, sse: details.sse };
}

describe('the health indicator for terminus', () => {
  afterEach(closeAll);

  it('fails while the log is down, and while its reader has been stalled for longer than it may', async () => {
    const health = new HealthState('ready');
    const log: EventLogFactory = (context) =>
      Object.defineProperty(memory()(context), 'health', { value: health });
    const app = await createApp({ log });
    const controller = app.get(ReadinessController);
    expect(await check(app)).toEqual({ status: 200, sse: { status: 'up', log: 'ready' } });

    health.set('degraded', 'reading lags');
    expect(await check(app)).toEqual({ status: 200, sse: { status: 'up', log: 'degraded' } });
    controller.degradedMs = 0;
    const { since } = app.get(SseService).health;
    await waitFor(() => Date.now() > since.getTime());
    expect(await check(app)).toEqual({
      status: 503,
      sse: { status: 'down', log: 'degraded', reason: 'The log is degraded: reading lags.' },
    });
    controller.degradedMs = Infinity;
    expect(await check(app)).toMatchObject({ status: 200 });

    health.set('down', 'connection refused');
    expect(await check(app)).toEqual({
      status: 503,
      sse: { status: 'down', log: 'down', reason: 'The log is down: connection refused.' },
    });
    health.set('ready');
    expect(await check(app)).toMatchObject({ status: 200 });
  });

  it('fails from the beginning of a shutdown on, while the app still answers', async () => {
    const gate = new Gate();
    const log: EventLogFactory = (context) => {
      const store = memory()(context);
      const append = store.log.append.bind(store.log);
      store.log.append = (...args) => gate.opened.then(() => append(...args));
      return store;
    };
    const app = await createApp({ log });
    // The shutdown waits for what was accepted for publishing.
    const publishing = app.get(SseService).publish('a', 1);
    const closing = app.close();
    await waitFor(() => app.get(SseService).metrics.connections.isDraining);
    expect(await check(app)).toEqual({
      status: 503,
      sse: { status: 'down', log: 'ready', reason: 'The app is closing its event streams.' },
    });
    gate.open();
    await Promise.all([publishing, closing]);
  });

  it('refuses a time that is none', async () => {
    const app = await createApp({});
    expect(() => app.get(SseHealthIndicator).isReady('sse', { degradedMs: -1 })).toThrow(
      'degradedMs must be 0 or more, got -1.',
    );
  });
});
