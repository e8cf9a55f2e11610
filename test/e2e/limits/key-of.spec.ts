import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, HttpException, Injectable, Param, Post, Res, Sse, UseGuards } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { NEVER, of } from 'rxjs';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

/** A request, as the guard leaves it. */
interface UserRequest {
  user?: string;
}

@Injectable()
class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<UserRequest & { headers: Record<string, string> }>();
    request.user = request.headers['x-user'];
    return true;
  }
}

async function* answerOf(signal: AbortSignal): AsyncGenerator<string> {
  yield 'first';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

@Controller()
@UseGuards(UserGuard)
class KeyController {
  readonly failures: unknown[] = [];

  constructor(private readonly sse: SseService) {}

  @Sse('sse')
  served() {
    return NEVER;
  }

  @Sse('injected')
  injected(@Connection() connection: SseConnection) {
    connection.send('first');
    return NEVER;
  }

  @Get('connect')
  connect(@Res() res: object) {
    this.sse.connect(res);
    this.sse.connect(res);
  }

  @Post('stream')
  stream(@Res() res: object) {
    return this.sse.stream(res, ({ signal }) => answerOf(signal));
  }

  @Get('run/:id')
  async run(@Res() res: object, @Param('id') id: string) {
    await this.sse.runs.start(id, ({ signal }) => answerOf(signal));
    return this.sse.runs.attach(res, id);
  }

  @Get('timer')
  timer(@Res() res: object) {
    setTimeout(() => this.sse.sendSseMessage(res, 'first'), 0);
  }

  @Get('raw')
  raw(@Res() res: { raw?: object }) {
    try {
      this.sse.connect(res.raw ?? res).close();
    } catch (error) {
      this.failures.push(error);
      throw error;
    }
  }

  @Sse('done')
  done() {
    return of('x');
  }
}

const logger = {
  log: jest.fn(),
  warn: jest.fn<(text: string) => void>(),
  error: jest.fn<(text: string) => void>(),
};

const lines = (level: 'warn' | 'error') =>
  logger[level].mock.calls.map(([text]) => text).filter((text) => text.includes('keyOf'));

describe.each(platforms)('keyOf on $name', (platform) => {
  afterEach(async () => {
    await closeAll();
    jest.clearAllMocks();
  });

  const keyOf = jest.fn<(request: UserRequest) => string | string[] | undefined>();

  const create = async (options: SseModuleOptions = { keyOf }) => {
    const app = await platform.create(
      { imports: [SseModule.forRoot(options)], controllers: [KeyController], providers: [UserGuard] },
      { logger },
    );
    return { app, sse: app.get(SseService), controller: app.get(KeyController) };
  };

  it.each([
    ['GET', '/sse'],
    ['GET', '/injected'],
    ['GET', '/connect'],
    ['POST', '/stream'],
    ['GET', '/run/1'],
    ['GET', '/timer'],
  ])('is asked once, after the guards, of %s %s', async (method, path) => {
    keyOf.mockImplementation(({ user }) => [`user:${user}`, 'tenant:1']);
    const { app, sse } = await create();

    await open(app, path, { method, headers: { 'x-user': 'ada' } });
    await waitFor(() => sse.connections.size === 1);

    const [connection] = sse.connections;
    expect(connection!.keys).toEqual(['user:ada', 'tenant:1']);
    expect(keyOf.mock.calls).toEqual([[connection!.request]]);
    expect([...lines('warn'), ...lines('error')]).toEqual([]);
  });

  it('warns once of connections without a key', async () => {
    keyOf.mockReturnValue(undefined);
    const { app, sse } = await create();

    await Promise.all(['/sse', '/connect', '/sse'].map((path) => open(app, path)));
    await waitFor(() => sse.connections.size === 3);

    expect([...sse.connections].map(({ keys }) => keys)).toEqual([[], [], []]);
    expect(lines('warn')).toEqual([expect.stringContaining('keyOf returned no key for a client of /')]);
  });

  it('is not called for a client that is shed', async () => {
    keyOf.mockReturnValue('a');
    const { app } = await create({ keyOf, maxConnections: 1 });

    await open(app, '/connect');
    const shed = await open(app, '/connect');
    expect(shed.status).toBe(200);

    expect(keyOf).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['GET', '/sse'],
    ['GET', '/injected'],
    ['GET', '/connect'],
    ['POST', '/stream'],
    ['GET', '/timer'],
  ])('answers %s %s with a 500 if it throws', async (method, path) => {
    keyOf.mockImplementation(() => {
      throw new TypeError('no user');
    });
    const { app, sse } = await create();

    const stream = await open(app, path, { method });

    expect(stream.status).toBe(500);
    expect(await stream.body()).not.toContain('no user');
    expect(sse.connections.size).toBe(0);
    expect(lines('error')).toEqual([expect.stringContaining('keyOf failed for a client of')]);
  });

  it('answers with the exception that it throws for the client', async () => {
    keyOf.mockImplementation(() => {
      throw new HttpException('Who are you?', 401);
    });
    const { app } = await create();

    expect((await open(app, '/sse')).status).toBe(401);
    expect((await open(app, '/connect')).status).toBe(401);
    expect(lines('error')).toEqual([]);
  });

  it.each<[string, () => unknown]>([
    ['a number', () => 42],
    ['null', () => null],
    ['an empty string', () => ''],
    ['a promise', () => Promise.reject(new Error('late'))],
  ])('answers with a 500 if it returns %s', async (_what, returned) => {
    keyOf.mockImplementation(returned as never);
    const { app } = await create();

    expect((await open(app, '/sse')).status).toBe(500);
  });

  it('refuses the raw response of a Fastify app, which has no user', async () => {
    keyOf.mockReturnValue('a');
    const { app, controller } = await create();

    const { status } = await open(app, '/raw');

    if (platform.name === 'Express') {
      expect([status, controller.failures]).toEqual([200, []]);
    } else {
      expect(status).toBe(500);
      expect(controller.failures).toEqual([expect.objectContaining({ code: 'misuse' })]);
      expect(keyOf).not.toHaveBeenCalled();
    }
  });

  it('takes a raw response if nothing asks for keys', async () => {
    const { app, controller } = await create({});

    expect((await open(app, '/raw')).status).toBe(200);
    expect(controller.failures).toEqual([]);
  });
});

it('is checked when the app starts', async () => {
  const [platform] = platforms;
  const options = { keyOf: 'user' } as unknown as SseModuleOptions;
  await expect(platform!.create({ imports: [SseModule.forRoot(options)] })).rejects.toMatchObject({
    code: 'options-invalid',
    field: 'keyOf',
  });
  await closeAll();
});
