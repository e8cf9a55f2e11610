import { Controller, Get, ServiceUnavailableException } from '@nestjs/common';
import { afterEach, describe, expect, it } from '@jest/globals';
import { memory, SseError, SseModule, SseService } from 'nestjs-event-stream';
import type { EventLogFactory, LogState } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { HealthState } from '../../../lib/engines/index.js';
import { baseOf, closeAll, platforms } from '../../support/apps/platforms.js';

@Controller('ready')
class ReadinessController {
  constructor(private readonly sse: SseService) {}

  @Get()
  check(): object {
    const { state, reason, since } = this.sse.health;
    if (state === 'down') {
      throw new ServiceUnavailableException({ state, reason, since });
    }
    return { state, reason, since };
  }
}

/** memory() on an engine that fares as a test says, and how often it was closed. */
function fallibleLog(follow?: () => Promise<never>) {
  const health = new HealthState('ready');
  const engine = { health, closed: 0 };
  const log: EventLogFactory = () => {
    const store = memory()();
    if (follow) {
      store.log.follow = follow;
    }
    return {
      isShared: true,
      health,
      log: store.log,
      open: (name, options) => store.open(name, options),
      find: (name, page) => store.find(name, page),
      claim: (name, options) => store.claim(name, options),
      lease: (name, options) => store.lease(name, options),
      close: () => {
        engine.closed += 1;
        return store.close();
      },
    };
  };
  return { engine, log };
}

const [platform] = platforms;

describe('the health of the log', () => {
  afterEach(closeAll);

  it('makes a readiness check, is told as it changes, and is logged', async () => {
    const { engine, log } = fallibleLog();
    const logged: string[] = [];
    const write = (level: string) => (message: string) => logged.push(`${level} ${message}`);
    const app = await platform!.create(
      { imports: [SseModule.forRoot({ log })], controllers: [ReadinessController] },
      { logger: { log: write('log'), warn: write('warn'), error: write('error') } },
    );
    const { health } = app.get(SseService);
    const told: (LogState | 'complete')[] = [];
    health.changes.subscribe({
      next: ({ state }) => told.push(state),
      complete: () => told.push('complete'),
    });
    const ready = async () => {
      const response = await fetch(`${baseOf(app)}/ready`);
      return [response.status, await response.json()];
    };
    const since = health.since.toISOString();
    expect(await ready()).toEqual([200, { state: 'ready', since }]);

    engine.health.set('down', 'no answer');
    expect(await ready()).toEqual([503, { state: 'down', reason: 'no answer', since: expect.any(String) }]);
    await waitFor(() => logged.some((line) => line === 'warn The log of topics is down: no answer.'));
    engine.health.set('degraded', 'the reader lags');
    expect((await ready())[0]).toBe(200);
    engine.health.set('ready');
    expect((await ready())[0]).toBe(200);
    await waitFor(() =>
      logged.some((line) => line.startsWith('log The log of topics is ready again, after ')),
    );

    await app.close();
    expect(told).toEqual(['down', 'degraded', 'ready', 'complete']);
    expect(engine.closed).toBe(1);
  });

  it('is of no interest to an app that cannot follow its log: it fails to start, and leaves nothing open', async () => {
    const failure = new SseError('log-unavailable', 'The engine cannot be reached.');
    const { engine, log } = fallibleLog(() => Promise.reject(failure));
    const starting = platform!.create({ imports: [SseModule.forRoot({ log })] });
    await expect(starting).rejects.toBe(failure);
    expect(engine.closed).toBe(1);
    // An app that is closed all the same closes it no second time.
    await closeAll();
    expect(engine.closed).toBe(1);
  });
});
