import { afterEach, describe, expect, it } from '@jest/globals';
import {
  applyDecorators,
  Controller,
  ForbiddenException,
  HttpException,
  Injectable,
  NotFoundException,
  Scope,
  Sse,
  UseInterceptors,
} from '@nestjs/common';
import type {
  CallHandler,
  ExecutionContext,
  INestApplication,
  ModuleMetadata,
  NestInterceptor,
  Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { SseModule } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import {
  catchError,
  concat,
  concatMap,
  EMPTY,
  finalize,
  interval,
  map,
  NEVER,
  of,
  take,
  tap,
  throwError,
  timeout,
  timer,
} from 'rxjs';
import type { Observable } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

type Intercept = (
  events: Observable<unknown>,
  context: ExecutionContext,
) => Observable<unknown> | Promise<Observable<unknown>>;

/** The places in which an app can put an interceptor. */
interface Placement {
  readonly name: string;
  readonly scope?: Scope;
  readonly controller?: boolean;
  readonly route?: boolean;
  readonly provider?: boolean;
  readonly global?: boolean;
}

const placements: Placement[] = [
  { name: 'APP_INTERCEPTOR', provider: true },
  { name: 'APP_INTERCEPTOR for each request', provider: true, scope: Scope.REQUEST },
  { name: 'useGlobalInterceptors()', global: true },
  { name: '@UseInterceptors() on the controller', controller: true },
  { name: '@UseInterceptors() on the route', route: true },
  { name: '@UseInterceptors() on the route for each request', route: true, scope: Scope.REQUEST },
];

const onTheRoute = placements[4]!;
const global = placements[0]!;

/** What a client sees of a response. Ids are left out: Nest counts events for which the handler gives none. */
interface Answer {
  status: number;
  events: [type: string, data: string][];
  ending: string | undefined;
}

/**
 * Creates an app with one interceptor. Its classes are new each time, because their decorators place the interceptor.
 */
function appOf(
  placement: Placement,
  intercept: Intercept,
): { metadata: ModuleMetadata; options: CreateOptions } {
  @Injectable({ scope: placement.scope ?? Scope.DEFAULT })
  class AppInterceptor implements NestInterceptor {
    async intercept(context: ExecutionContext, next: CallHandler) {
      return intercept(next.handle(), context);
    }
  }
  const use = (isHere: boolean | undefined) =>
    applyDecorators(...(isHere ? [UseInterceptors(AppInterceptor)] : []));

  @Controller('feed')
  @use(placement.controller)
  class Feed {
    @Sse('users')
    @use(placement.route)
    users() {
      return of(
        { data: { name: 'Ada', password: 'secret' }, type: 'joined' },
        { data: { name: 'Bob', password: 'secret' } },
        { data: { name: 'Cyd' }, type: 'left', id: '9' },
      );
    }

    @Sse('busy')
    @use(placement.route)
    busy() {
      return interval(10).pipe(
        take(60),
        // No numbers: plain Nest 11 does not get past the first number.
        map((n) => ({ data: `${n}` })),
      );
    }

    @Sse('idle')
    @use(placement.route)
    idle() {
      return concat(of({ data: 'first' }), NEVER);
    }

    @Sse('silent')
    @use(placement.route)
    silent() {
      return NEVER;
    }

    @Sse('missing')
    @use(placement.route)
    missing(): Observable<unknown> {
      throw new NotFoundException('No such feed.');
    }

    @Sse('breaking')
    @use(placement.route)
    breaking() {
      return concat(
        of({ data: 'first' }),
        timer(5).pipe(concatMap(() => throwError(() => new Error('secret')))),
      );
    }
  }
  return {
    metadata: {
      controllers: [Feed],
      providers: placement.provider ? [{ provide: APP_INTERCEPTOR, useClass: AppInterceptor }] : [],
    },
    options: {
      configure: (app) => placement.global && app.useGlobalInterceptors(new AppInterceptor()),
    },
  };
}

/** Returns the answer of an app with the module. Fails the test if plain Nest answers differently. */
async function answerOf(
  platform: Platform,
  placement: Placement,
  path: string,
  intercept: Intercept,
): Promise<Answer> {
  const answers: Answer[] = [];
  for (const imports of [[], [SseModule.forRoot()]]) {
    const { metadata, options } = appOf(placement, intercept);
    answers.push(await read(await platform.create({ ...metadata, imports }, options), path));
  }
  const [plain, withModule] = answers;
  expect(withModule).toEqual(plain);
  return withModule!;
}

async function read(app: INestApplication, path: string): Promise<Answer> {
  const stream = await open(app, path);
  await stream.until(({ ending }) => ending !== undefined);
  return {
    status: stream.status,
    events: stream.events.map(({ type, data }) => [type, data]),
    ending: stream.ending,
  };
}

function withoutPassword(event: { data: Record<string, unknown> }) {
  const { password: _password, ...data } = event.data;
  return { ...event, data };
}

afterEach(closeAll);

describe.each(platforms)("the app's own interceptors on $name", (platform) => {
  describe.each(placements)('by $name', (placement) => {
    it('strip a field from every event', async () => {
      const { events } = await answerOf(platform, placement, '/feed/users', (events) =>
        events.pipe(map((event) => withoutPassword(event as never))),
      );
      expect(events).toEqual([
        ['joined', '{"name":"Ada"}'],
        ['message', '{"name":"Bob"}'],
        ['left', '{"name":"Cyd"}'],
      ]);
    });

    it('see every event, and its end', async () => {
      const seen: unknown[] = [];
      await answerOf(platform, placement, '/feed/users', (events) =>
        events.pipe(tap({ next: (event) => seen.push(event), complete: () => seen.push('complete') })),
      );
      const once = [
        { type: 'joined', data: { name: 'Ada', password: 'secret' } },
        { data: { name: 'Bob', password: 'secret' } },
        { type: 'left', id: '9', data: { name: 'Cyd' } },
        'complete',
      ];
      expect(seen.slice(4)).toEqual(once);
      // Nest 11 writes its counter into events without an id.
      expect(seen.slice(0, 4)).toMatchObject(once);
    });

    it('answer an early error', async () => {
      const { status, events } = await answerOf(platform, placement, '/feed/missing', (events) =>
        events.pipe(catchError((error: HttpException) => of({ data: error.message, type: 'sorry' }))),
      );
      expect(status).toBe(200);
      expect(events).toEqual([['sorry', 'No such feed.']]);
    });

    it('are called before the handler', async () => {
      const { status } = await answerOf(platform, placement, '/feed/users', () => {
        throw new ForbiddenException();
      });
      expect(status).toBe(403);
    });
  });

  describe.each([global, onTheRoute])('by $name', (placement) => {
    it('wrap events into data', async () => {
      const { events } = await answerOf(platform, placement, '/feed/users', (events) =>
        events.pipe(map((data) => ({ data }))),
      );
      expect(events.map(([type, data]) => [type, JSON.parse(data) as unknown])).toEqual([
        ['message', { data: { name: 'Ada', password: 'secret' }, type: 'joined' }],
        ['message', { data: { name: 'Bob', password: 'secret' } }],
        ['message', { data: { name: 'Cyd' }, type: 'left', id: '9' }],
      ]);
    });

    it('let a busy stream go on with timeout()', async () => {
      const { events } = await answerOf(platform, placement, '/feed/busy', (events) =>
        events.pipe(timeout(400)),
      );
      expect(events).toHaveLength(60);
      expect(events.at(-1)).toEqual(['message', '59']);
    });

    it.each([
      ['/feed/idle', [['message', 'first']]],
      ['/feed/silent', []],
    ])('end an idle stream with timeout(): %s', async (path, before) => {
      const { events, status } = await answerOf(platform, placement, path, (events) =>
        events.pipe(timeout(100)),
      );
      expect(status).toBe(200);
      expect(events).toEqual([...before, ['error', 'Internal server error']]);
    });

    it('answer a late error with catchError()', async () => {
      const { events } = await answerOf(platform, placement, '/feed/breaking', (events) =>
        events.pipe(catchError(() => of({ data: 'back soon', type: 'sorry' }))),
      );
      expect(events).toEqual([
        ['message', 'first'],
        ['sorry', 'back soon'],
      ]);
    });

    it('swallow a late error with catchError()', async () => {
      const { events } = await answerOf(platform, placement, '/feed/breaking', (events) =>
        events.pipe(catchError(() => EMPTY)),
      );
      expect(events).toEqual([['message', 'first']]);
    });

    it('turn an early error into another with catchError()', async () => {
      const { status } = await answerOf(platform, placement, '/feed/missing', (events) =>
        events.pipe(catchError(() => throwError(() => new HttpException('gone', 410)))),
      );
      expect(status).toBe(410);
    });

    it('fail in the middle of a stream', async () => {
      const { events } = await answerOf(platform, placement, '/feed/users', (events) =>
        events.pipe(
          map((event, index) => {
            if (index === 1) {
              throw new ForbiddenException('Not this one.');
            }
            return event;
          }),
        ),
      );
      expect(events.at(-1)).toEqual(['error', 'Not this one.']);
    });

    it('end a stream early with take()', async () => {
      const { events } = await answerOf(platform, placement, '/feed/busy', (events) => events.pipe(take(2)));
      expect(events).toEqual([
        ['message', '0'],
        ['message', '1'],
      ]);
    });

    it('answer in place of the handler', async () => {
      const { events } = await answerOf(platform, placement, '/feed/missing', () => of({ data: 'cached' }));
      expect(events).toEqual([['message', 'cached']]);
    });

    it('set the status and a header', async () => {
      const seen: unknown[] = [];
      for (const imports of [[], [SseModule.forRoot()]]) {
        const { metadata, options } = appOf(placement, (events, context) => {
          const response = context.switchToHttp().getResponse<HeaderSetter>();
          response.status(202).header('x-served-by', 'blue');
          return events;
        });
        const stream = await open(await platform.create({ ...metadata, imports }, options), '/feed/users');
        seen.push([stream.status, stream.headers['x-served-by'], stream.headers['content-type']]);
      }
      expect(seen[1]).toEqual(seen[0]);
    });

    it('are unsubscribed from, and do not complete, when the client leaves', async () => {
      for (const imports of [[], [SseModule.forRoot()]]) {
        const seen: string[] = [];
        const { metadata, options } = appOf(placement, (events) =>
          events.pipe(
            tap({ complete: () => seen.push('complete') }),
            finalize(() => seen.push('finalize')),
          ),
        );
        const stream = await open(await platform.create({ ...metadata, imports }, options), '/feed/idle');
        await stream.next();
        await stream.close();
        await waitFor(() => seen.length > 0);
        expect(seen).toEqual(['finalize']);
      }
    });
  });

  it('run in their order, from the outermost to the handler and back', async () => {
    const around = (name: string): Type<NestInterceptor> => {
      @Injectable()
      class Around implements NestInterceptor {
        intercept(_context: ExecutionContext, next: CallHandler) {
          return next
            .handle()
            .pipe(map((event) => ({ data: `${name}(${(event as { data: string }).data})` })));
        }
      }
      return Around;
    };

    @Controller()
    @UseInterceptors(around('controller'))
    class Onion {
      @Sse('onion')
      @UseInterceptors(around('route'))
      async *onion() {
        yield { data: 'core' };
      }
    }
    const app = await platform.create(
      {
        imports: [SseModule.forRoot()],
        controllers: [Onion],
        providers: [{ provide: APP_INTERCEPTOR, useClass: around('provider') }],
      },
      { configure: (server) => server.useGlobalInterceptors(new (around('global'))()) },
    );
    const { events } = await read(app, '/onion');
    expect(events).toEqual([['message', 'provider(global(controller(route(core))))']]);
  });
});

interface HeaderSetter {
  status(code: number): HeaderSetter;
  header(name: string, value: string): HeaderSetter;
}
