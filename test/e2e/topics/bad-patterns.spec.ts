import { Controller, Post, Query, Sse } from '@nestjs/common';
import type { LoggerService } from '@nestjs/common';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
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

  @Sse('server')
  server(@Query('pattern') pattern: string) {
    return this.sse.events(pattern);
  }
}

describe.each(platforms)('a topic that a client makes up, on $name', (platform) => {
  afterEach(closeAll);

  const create = async (logger: LoggerService | false = false) =>
    platform.create({ imports: [SseModule.forRoot()], controllers: [SearchController] }, { logger });

  it.each([
    '/watch?pattern=a%20b',
    '/watch?pattern=',
    '/watch?pattern=a.%3E.b',
    '/watch',
    '/server?pattern=a..b',
  ])('is the client’s mistake at %s', async (path) => {
    const answer = await open(await create(), path);
    expect(answer.status).toBe(400);
    expect(await answer.body()).toMatch(/Pattern/);
  });

  it.each(['/publish?topic=a%20b', '/publish?topic=a.*', '/publish'])(
    'is the client’s mistake at %s',
    async (path) => {
      const answer = await open(await create(), path, { method: 'POST' });
      expect(answer.status).toBe(400);
      expect(await answer.body()).toMatch(/Topic/);
    },
  );

  it('is none of the app’s errors on an @Sse() route: no line of the log has it', async () => {
    const lines: unknown[] = [];
    const write = (...line: unknown[]) => void lines.push(line);
    const app = await create({ log: () => undefined, debug: write, warn: write, error: write });
    for (const path of ['/watch?pattern=a%20b', '/server?pattern=a%20b']) {
      await open(app, path);
    }
    expect(lines).toEqual([]);
  });
});
