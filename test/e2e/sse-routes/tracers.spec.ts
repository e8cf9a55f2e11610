import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  NotFoundException,
  Scope,
  Sse,
  UseInterceptors,
} from '@nestjs/common';
import type { INestApplication, LoggerService, NestModule, Type } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { Connection, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { concat, NEVER, of } from 'rxjs';
import type { Observable } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { served, Through } from './served.js';

type Method = (...args: unknown[]) => unknown;
type Methods = Record<string, Method>;

/** The spans of the tracer. */
let spans: string[];

/** Wraps a handler as `@opentelemetry/instrumentation-nestjs-core` does, and with it `@sentry/nestjs`. */
function traced(handler: Method): Method {
  const wrapper = async function (this: unknown, ...args: unknown[]) {
    spans.push(handler.name);
    return handler.apply(this, args);
  };
  Object.defineProperty(wrapper, 'name', { value: handler.name });
  for (const key of Reflect.getMetadataKeys(handler)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), wrapper);
  }
  return wrapper;
}

const names = ['ticks', 'mine', 'generator', 'missing'];

function feedsOf(scope?: Scope): Type<object> {
  @Controller({ scope })
  class Feeds {
    @Sse('ticks')
    ticks() {
      return concat(of({ data: 'tick' }), NEVER);
    }

    @Sse('mine')
    mine(@Connection() connection: SseConnection) {
      connection.send('mine');
      return NEVER;
    }

    @Sse('generator')
    @SseOptions({ retryMs: 77 })
    async *generator() {
      yield 'generated';
    }

    @Sse('missing')
    missing(): Observable<unknown> {
      throw new NotFoundException();
    }
  }
  return Feeds;
}

/** Where a tracer puts its wrappers, and when. `trace` is called with the prototype and the instance. */
function tracerOf(
  Feeds: Type<object>,
  when: string,
  trace: (prototype: Methods, ref: ModuleRef) => void,
): Type {
  @Injectable()
  class Tracer {
    constructor(@Inject(ModuleRef) ref: ModuleRef) {
      if (when === 'in a provider') {
        trace(Feeds.prototype as Methods, ref);
      }
    }
  }

  @Module({ controllers: [Feeds], providers: [Tracer] })
  class Tracing implements NestModule {
    constructor(@Inject(ModuleRef) private readonly ref: ModuleRef) {}

    configure() {
      if (when === 'in configure()') {
        trace(Feeds.prototype as Methods, this.ref);
      }
    }
  }
  return Tracing;
}

function onPrototype(prototype: Methods): void {
  names.forEach((name) => (prototype[name] = traced(prototype[name]!)));
}

const onInstance = (Feeds: Type<object>) => (_prototype: Methods, ref: ModuleRef) => {
  const instance = ref.get<Methods>(Feeds);
  names.forEach((name) => (instance[name] = traced(instance[name]!)));
};

const anewForEachLook = (Feeds: Type<object>) => (prototype: Methods, ref: ModuleRef) => {
  const instance = ref.get(Feeds);
  names.forEach((name) =>
    Object.defineProperty(instance, name, { get: () => traced(prototype[name]!), configurable: true }),
  );
};

async function expectServed(app: INestApplication, isTraced = true): Promise<void> {
  spans = [];
  const ticks = await open(app, '/ticks');
  expect((await ticks.next()).data).toBe('tick');
  const mine = await open(app, '/mine');
  expect((await mine.next()).data).toBe('mine');
  expect(app.get(SseService).connections.size).toBe(2);
  const generator = await open(app, '/generator');
  expect(await generator.ended).toBe('complete');
  expect([ticks.retry, mine.retry, generator.retry]).toEqual([3000, 3000, 77]);
  expect((await open(app, '/missing')).status).toBe(404);
  expect(spans).toEqual(isTraced ? names : []);
}

beforeEach(() => {
  spans = [];
});
afterEach(closeAll);

describe.each(served)('a tracer that wraps the handlers of @Sse() routes on $name', ({ create }) => {
  const rows: [string, string, (Feeds: Type<object>) => (prototype: Methods, ref: ModuleRef) => void][] = [
    ['on the prototype', 'in a provider', () => onPrototype],
    ['on the prototype', 'in configure()', () => onPrototype],
    ['on the instance', 'in configure()', onInstance],
    ['for each look', 'in configure()', anewForEachLook],
  ];
  const orders = rows.flatMap(([where, when, trace]) =>
    (['before', 'after'] as const).map((order) => ({ where, when, trace, order })),
  );

  it.each(orders)(
    '$where $when, imported $order the module, gets its spans, and the streams are served',
    async ({ when, trace, order }) => {
      const Feeds = feedsOf();
      const imports = [SseModule.forRoot(), tracerOf(Feeds, when, trace(Feeds))];
      const failure = await create({ imports: order === 'after' ? imports : imports.toReversed() }).catch(
        (error: unknown) => error,
      );
      if (failure instanceof Error) {
        // An accessor in place of ours hides the route: the app fails to start.
        expect([when, order, trace]).toEqual(['in configure()', 'after', anewForEachLook]);
        expect(failure.message).toContain('was replaced on its controller');
        return;
      }
      await expectServed(failure as INestApplication);
    },
  );

  it('on the prototype of a controller that is made for each request, before and after the start', async () => {
    const Feeds = feedsOf(Scope.REQUEST);
    const app = await create({ imports: [SseModule.forRoot()], controllers: [Feeds] });
    await expectServed(app, false);
    onPrototype(Feeds.prototype as Methods);
    await Promise.all(
      [...app.get(SseService).connections].map((connection) => {
        connection.close();
        return connection.closed;
      }),
    );
    await expectServed(app);
  });
});

describe.each(platforms)('an @Sse() route on $name', ({ name, create }) => {
  abstract class Base {
    @Sse('feed')
    feed(): Observable<unknown> {
      return of({ data: this.constructor.name });
    }
  }

  @Controller('plain')
  class Plain extends Base {}

  @Controller('short')
  @SseOptions({ retryMs: 5 })
  class Short extends Base {}

  @Controller('over')
  @SseOptions({ retryMs: 6 })
  class Over extends Base {
    @Sse('feed')
    override feed() {
      return super.feed();
    }
  }

  it.each([
    ['no interceptor', undefined],
    ['a global interceptor', new Through()],
  ])(
    'has the settings of its own class, with %s, in two apps, and in two modules of one',
    async (_what, through) => {
      @Module({ controllers: [Plain, Short, Over] })
      class One {}
      @Module({ controllers: [Plain] })
      class Two {}
      const apps = await Promise.all(
        [3000, 4000].map((retryMs) =>
          create(
            // Fastify refuses two routes with one path.
            { imports: [SseModule.forRoot({ retryMs }), One, ...(name === 'Express' ? [Two] : [])] },
            { configure: (app) => through && app.useGlobalInterceptors(through) },
          ),
        ),
      );
      const seen = [];
      for (const app of apps) {
        for (const path of ['plain', 'short', 'over']) {
          const stream = await open(app, `/${path}/feed`);
          expect(await stream.ended).toBe('complete');
          seen.push(stream.raw);
        }
      }
      const short = 'retry: 5\ndata: Short\n\n';
      const over = 'retry: 6\ndata: Over\n\n';
      expect(seen).toEqual([
        'retry: 3000\ndata: Plain\n\n',
        short,
        over,
        'retry: 4000\ndata: Plain\n\n',
        short,
        over,
      ]);
    },
  );

  it('that is not recognised when it is called is reported once, by name', async () => {
    const errors: string[] = [];
    const logger = {
      error: (...words: unknown[]) => errors.push(words.join(' ')),
    } as unknown as LoggerService;
    ['log', 'warn', 'debug', 'verbose'].forEach((level) =>
      Object.assign(logger, { [level]: () => undefined }),
    );

    @Controller({ scope: Scope.REQUEST })
    class Feeds {
      @Sse('feed')
      feed() {
        return of({ data: 'fed' });
      }
    }
    const app = await create(
      { imports: [SseModule.forRoot()], controllers: [Feeds] },
      { logger, configure: (server) => server.useGlobalInterceptors(new Through()) },
    );
    const wrapper = function other() {
      return of({ data: 'other' });
    };
    const { feed } = Feeds.prototype;
    const [sse] = Reflect.getMetadataKeys(feed).filter((key) => key === '__sse__') as unknown[];
    Reflect.defineMetadata(sse, true, wrapper);
    Object.assign(Feeds.prototype, { feed: wrapper });
    for (let times = 0; times < 2; times += 1) {
      const stream = await open(app, '/feed');
      expect(await stream.ended).toBe('complete');
      expect(stream.retries).toEqual([]);
    }
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain('Feeds.other has @Sse() and is served by Nest alone');
  });
});

describe.each(platforms)('the mode of a route on $name', ({ create }) => {
  class Upper extends Through {}

  @Controller('a')
  class Neighbours {
    @Sse('alone')
    async alone(): Promise<Observable<unknown>> {
      await new Promise((resolve) => setTimeout(resolve, 20));
      throw new NotFoundException();
    }

    @Sse('wrapped')
    @UseInterceptors(Upper)
    async wrapped() {
      return this.alone();
    }

    @Get('plain')
    plain() {
      return { plain: true };
    }
  }

  @Controller('b')
  @UseInterceptors(Upper)
  class Around {
    @Sse('feed')
    feed(@Connection() connection: SseConnection) {
      return of({ data: typeof connection.id });
    }

    @Get('plain')
    plain() {
      return { plain: true };
    }
  }

  it('is its own: one with an interceptor changes nothing for another, and nothing stays when the apps close', async () => {
    const metadata = () =>
      [
        Neighbours,
        Neighbours.prototype.alone,
        Neighbours.prototype.wrapped,
        Around,
        Around.prototype.feed,
      ].map((target) => JSON.stringify(Reflect.getMetadata('__interceptors__', target)?.length ?? null));
    const before = metadata();
    const controllers = [Neighbours, Around];
    const [app, plain] = await Promise.all([
      create({ imports: [SseModule.forRoot()], controllers }),
      create({ controllers }),
    ]);
    expect((await open(app, '/a/alone')).status).toBe(404);
    const wrapped = await open(app, '/a/wrapped');
    expect(await wrapped.ended).toBe('complete');
    expect(wrapped.retries).toEqual([3000]);
    const feed = await open(app, '/b/feed');
    expect(await feed.ended).toBe('complete');
    expect(feed.raw).toBe('retry: 3000\ndata: string\n\n');
    for (const path of ['/a/plain', '/b/plain']) {
      expect(JSON.parse(await (await open(app, path)).body())).toEqual({ plain: true });
    }
    const left = await open(plain, '/a/wrapped');
    expect(left.status).toBe(200);
    expect(await left.ended).toBe('complete');
    expect(left.retries).toEqual([]);
    await app.close();
    expect(metadata()).toEqual(before);
  });
});
