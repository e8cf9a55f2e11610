import { Catch, Controller, Get, Post, Query, Res, Sse } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter, LoggerService, Provider } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Connection, SseConnection, SseError, SseModule, SseService } from 'nestjs-event-stream';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

@Controller()
class SearchController {
  constructor(private readonly sse: SseService) {}

  @Sse('watch')
  watch(@Connection() connection: SseConnection, @Query('pattern') pattern: string) {
    return connection.follow(pattern);
  }

  @Post('publish')
  async publish(@Query('topic') name: string) {
    return { at: await this.sse.publish(name, 1) };
  }

  @Get('followed')
  followed(@Res() res: object, @Query('pattern') pattern: string) {
    this.sse.connect(res).follow(pattern);
  }

  @Get('presence')
  presence(@Query('topic') name: string) {
    return this.sse.presence(name).list();
  }

  @Sse('server')
  server(@Query('pattern') pattern: string) {
    return this.sse.events(pattern);
  }
}

/** Of Express, or of Fastify. */
interface Reply {
  status(status: number): { send(body: string): unknown };
}

@Catch(SseError)
class TeapotFilter implements ExceptionFilter {
  catch({ code }: SseError, host: ArgumentsHost): void {
    host.switchToHttp().getResponse<Reply>().status(418).send(code);
  }
}

describe.each(platforms)('a topic that a client makes up, on $name', (platform) => {
  afterEach(closeAll);

  const create = async (logger: LoggerService | false = false, providers: Provider[] = []) =>
    platform.create(
      { imports: [SseModule.forRoot()], controllers: [SearchController], providers },
      { logger },
    );

  it.each([
    '/watch?pattern=a%20b',
    '/watch?pattern=',
    '/watch?pattern=a.%3E.b',
    '/watch',
    '/server?pattern=a..b',
    '/presence?topic=a..b',
  ])('is the client’s mistake at %s', async (path) => {
    const answer = await open(await create(), path);
    expect(answer.status).toBe(400);
    expect(await answer.body()).toMatch(/Pattern|Topic/);
  });

  it.each(['/publish?topic=a%20b', '/publish?topic=a.*', '/publish'])(
    'is the client’s mistake at %s',
    async (path) => {
      const answer = await open(await create(), path, { method: 'POST' });
      expect(answer.status).toBe(400);
      expect(await answer.body()).toMatch(/Topic/);
    },
  );

  it.each([
    ['@Sse()', 'GET', '/watch?pattern=a%20b'],
    ['@Sse() with events()', 'GET', '/server?pattern=a%20b'],
    ['@Get()', 'GET', '/presence?topic=a%20b'],
    ['@Post()', 'POST', '/publish?topic=a%20b'],
  ])('is none of the app’s errors on %s: no line of the log has it', async (_style, method, path) => {
    const lines: unknown[] = [];
    const write = (...line: unknown[]) => void lines.push(line);
    const app = await create({ log: () => undefined, debug: write, warn: write, error: write });
    const answer = await open(app, path, { method });
    expect([answer.status, lines]).toEqual([400, []]);
  });

  it('ends a stream that has begun, and is named at the level debug alone', async () => {
    const [told, named]: [unknown[], string[]] = [[], []];
    const write = (...line: unknown[]) => void told.push(line);
    const debug = (line: string) => void named.push(line);
    // That a handler has thrown is warned of, once a route.
    const app = await create({ log: () => undefined, debug, warn: () => undefined, error: write });
    const stream = await open(app, '/followed?pattern=a..b');
    await stream.untilEnd();
    expect([stream.status, told]).toEqual([200, []]);
    expect(named).toContainEqual(expect.stringMatching(/^A stream that had begun was ended: .*"a\.\.b"/));
  });

  it('is an SseError to a filter of the app', async () => {
    const app = await create(false, [{ provide: APP_FILTER, useClass: TeapotFilter }]);
    for (const [method, path] of [
      ['GET', '/presence?topic=a..b'],
      ['POST', '/publish?topic=a%20b'],
    ] as const) {
      const answer = await open(app, path, { method });
      expect([answer.status, await answer.body()]).toEqual([418, 'topic-invalid']);
    }
  });
});
