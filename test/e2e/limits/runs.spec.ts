import { afterEach, describe, expect, it } from '@jest/globals';
import { Catch, Controller, HttpException, Param, Post, Res } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Limits } from '../../../lib/limits/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { CreateOptions } from '../../support/apps/platforms.js';

async function* answerOf(signal: AbortSignal): AsyncGenerator<string> {
  yield 'first';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

@Controller(':owner')
class RunsController {
  constructor(private readonly sse: SseService) {}

  @Post('ask/:id')
  async ask(@Res() res: object, @Param('owner') owner: string, @Param('id') id: string) {
    const runs = this.sse.runs.of(owner);
    await runs.start(id, ({ signal }) => answerOf(signal));
    return runs.attach(res, id);
  }

  @Post('start/:id')
  start(@Param('owner') owner: string, @Param('id') id: string) {
    return this.sse.runs.of(owner).start(id, ({ signal }) => answerOf(signal));
  }

  @Post('stop/:id')
  stop(@Param('owner') owner: string, @Param('id') id: string) {
    return this.sse.runs.of(owner).stop(id);
  }
}

/** The response of Express or Fastify. */
interface Reply {
  status(status: number): { send(body: unknown): unknown };
}

@Catch()
class HouseFilter implements ExceptionFilter {
  catch(exception: unknown, host: ArgumentsHost) {
    const status = exception instanceof HttpException ? exception.getStatus() : 500;
    const response = host.switchToHttp().getResponse<Reply>();
    response.status(status).send({ house: true, status });
  }
}

describe.each(platforms)('limits of the runs of an owner on $name', (platform) => {
  afterEach(closeAll);

  const create = async (options: SseModuleOptions, more: CreateOptions = {}) => {
    const app = await platform.create(
      { imports: [SseModule.forRoot(options)], controllers: [RunsController] },
      more,
    );
    const post = async (path: string) => {
      const stream = await open(app, path, { method: 'POST' });
      return { status: stream.status, retryAfter: Number(stream.headers['retry-after']), stream };
    };
    return { app, post, limits: app.get(Limits) };
  };

  it('refuse a run past runsPerKey with 429 and Retry-After, until one has ended', async () => {
    const { post, limits } = await create({ limits: { runsPerKey: 2 } });
    expect((await post('/ada/ask/1')).status).toBe(200);
    expect((await post('/ada/start/2')).status).toBe(201);
    expect(limits.reached.runsPerKey).toBe(0);

    expect(await post('/ada/ask/3')).toMatchObject({ status: 429, retryAfter: 10 });
    expect(await post('/ada/start/3')).toMatchObject({ status: 429, retryAfter: 10 });
    expect(limits.reached.runsPerKey).toBe(2);
    // One that is live is no new run.
    expect((await post('/ada/ask/1')).status).toBe(200);
    expect((await post('/bob/start/1')).status).toBe(201);

    await post('/ada/stop/2');
    await waitFor(() => limits.runs.of('ada') === 1);
    expect((await post('/ada/start/3')).status).toBe(201);
  });

  it('refuse a run past runsPerKeyPerMinute, though the others have ended', async () => {
    const { post, limits } = await create({ limits: { runsPerKeyPerMinute: 2 } });
    for (const id of [1, 2]) {
      expect((await post(`/ada/start/${id}`)).status).toBe(201);
      await post(`/ada/stop/${id}`);
    }
    await waitFor(() => limits.runs.size === 0);
    expect(limits.reached.runsPerKeyPerMinute).toBe(0);

    const { status, retryAfter } = await post('/ada/start/3');
    expect([status, retryAfter > 20, retryAfter <= 30]).toEqual([429, true, true]);
    expect(limits.reached.runsPerKeyPerMinute).toBe(1);
    expect((await post('/bob/start/3')).status).toBe(201);
  });

  it('say when to try again past runs.maxRuns, too', async () => {
    const { post } = await create({ runs: { maxRuns: 1 } });
    await post('/ada/start/1');

    expect(await post('/bob/start/1')).toMatchObject({ status: 503, retryAfter: 10 });
  });

  it('let pages of other origins read when to try again', async () => {
    const { post } = await create({ limits: { runsPerKey: 1 } });
    await post('/ada/start/1');

    const { stream } = await post('/ada/start/2');
    expect(stream.headers['access-control-expose-headers']).toBe('Retry-After');
  });

  it('drop the oldest run that has ended past endedRuns', async () => {
    const { app, post, limits } = await create({ limits: { endedRuns: 2 } });
    const isKept = async (id: number) =>
      (await app.get(SseService).runs.of('ada').status(`${id}`)) !== undefined;
    for (const id of [1, 2]) {
      await post(`/ada/start/${id}`);
      await post(`/ada/stop/${id}`);
    }
    await waitFor(() => limits.runs.size === 0);
    expect([await isKept(1), await isKept(2), limits.reached.endedRuns]).toEqual([true, true, 0]);

    await post('/ada/start/3');
    await post('/ada/stop/3');
    await waitFor(() => limits.reached.endedRuns === 1);
    expect([await isKept(1), await isKept(2), await isKept(3)]).toEqual([false, true, true]);
  });

  it('leave the answer to a filter of the app', async () => {
    const configure: CreateOptions['configure'] = (app) => app.useGlobalFilters(new HouseFilter());
    const { post } = await create({ limits: { runsPerKey: 1 } }, { configure });
    await post('/ada/start/1');

    const { status, stream } = await post('/ada/start/2');
    expect([status, JSON.parse(await stream.body())]).toEqual([429, { house: true, status: 429 }]);
  });
});
