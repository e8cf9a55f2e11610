import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  createParamDecorator,
  Inject,
  Injectable,
  Module,
  NotFoundException,
  Param,
  ParseIntPipe,
  Query,
  Req,
  Res,
  SetMetadata,
  Sse,
  UseGuards,
} from '@nestjs/common';
import type {
  CallHandler,
  CanActivate,
  ExecutionContext,
  INestApplication,
  MiddlewareConsumer,
  NestInterceptor,
  NestModule,
  OnApplicationBootstrap,
  OnModuleInit,
  Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR, ApplicationConfig, LazyModuleLoader, ModuleRef, Reflector } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { Connection, SseError, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, map, of } from 'rxjs';
import type { Observable } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { served } from './served.js';

// An app whose handlers serve themselves behaves as an app without the module.

const imports = [SseModule.forRoot()];
// What is tested on this platform alone happens before the first request, and is the same on all platforms.
const anyPlatform = platforms[0]!;

/** Reads the data of a stream that ends. */
async function dataOf(app: INestApplication, path: string): Promise<string[]> {
  const stream = await open(app, path);
  expect(await stream.ended).toBe('complete');
  return stream.events.map(({ data }) => data);
}

/** Whether an `async` handler that fails late keeps its status, as it does without interceptors. */
async function servesItself(app: INestApplication): Promise<boolean> {
  return (await open(app, '/missing')).status === 404;
}

@Controller()
class Rooms {
  @Sse('rooms')
  rooms() {
    return of({ data: 'blue' });
  }

  @Sse('missing')
  async missing() {
    await delay(20);
    throw new NotFoundException();
  }
}

afterEach(closeAll);

describe.each(served)('an @Sse() handler on $name', ({ create }) => {
  const Roles = Reflector.createDecorator<string[]>();
  const seen: Record<string, unknown>[] = [];

  /** What guards and parameter decorators of an app read. */
  function lookAt(context: ExecutionContext): Record<string, unknown> {
    const reflector = new Reflector();
    const handler = context.getHandler();
    return {
      class: context.getClass(),
      name: handler.name,
      decorated: reflector.get(Roles, handler),
      overridden: reflector.getAllAndOverride<string>('public', [handler, context.getClass()]),
      merged: reflector.getAllAndMerge<string[]>('tags', [context.getClass(), handler]),
      own: Reflect.getOwnMetadata('public', handler) as unknown,
      isStatic: (handler as unknown as { isMarked?: boolean }).isMarked,
    };
  }

  class Looking implements CanActivate {
    canActivate(context: ExecutionContext) {
      seen.push(lookAt(context));
      return true;
    }
  }

  const Looked = createParamDecorator((_data: unknown, context: ExecutionContext) => lookAt(context));

  function Mark(): MethodDecorator {
    return (_target, _name, descriptor) => void Object.assign(descriptor.value!, { isMarked: true });
  }

  @Controller('guarded')
  @SetMetadata('public', 'class')
  @SetMetadata('tags', ['class'])
  @UseGuards(Looking)
  class Guarded {
    @Sse('feed')
    @Roles(['admin'])
    @SetMetadata('public', 'handler')
    @SetMetadata('tags', ['handler'])
    @Mark()
    feed(@Looked() looked: { name: string }) {
      return of({ data: looked.name });
    }
  }

  it('is seen by guards and parameter decorators with its name, its class and all that its decorators set', async () => {
    seen.length = 0;
    const app = await create({ imports, controllers: [Guarded] });
    expect(await dataOf(app, '/guarded/feed')).toEqual(['feed']);
    expect(seen).toEqual([
      {
        class: Guarded,
        name: 'feed',
        decorated: ['admin'],
        overridden: 'handler',
        merged: ['class', 'handler'],
        own: 'handler',
        isStatic: true,
      },
    ]);
  });

  it('receives the arguments of Nest, and no others', async () => {
    @Controller()
    class Arguments {
      @Sse('none')
      none(...args: unknown[]) {
        return of({ data: { count: args.length } });
      }

      @Sse('undecorated')
      undecorated(@Query('a') a: string, limit = 10) {
        return of({ data: { a, limit, count: arguments.length } });
      }

      @Sse('gap')
      gap(first: unknown, @Query('a') a: string) {
        return of({ data: { first, a, count: arguments.length } });
      }

      @Sse('own-response')
      ownResponse(
        @Req() req: { headers: object },
        @Res({ passthrough: true }) res: { statusCode: number },
        @Query('a') a?: string,
      ) {
        return of({ data: { headers: typeof req.headers, status: res.statusCode, a } });
      }
    }
    const answers = [];
    for (const modules of [[], imports]) {
      const app = await create({ imports: modules, controllers: [Arguments] });
      const paths = ['none', 'undecorated', 'gap', 'own-response'];
      const answer = await Promise.all(paths.map((path) => dataOf(app, `/${path}?a=1`)));
      answers.push(answer.flat().map((data) => JSON.parse(data) as unknown));
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[1]).toEqual([
      { count: 0 },
      { a: '1', limit: 10, count: 1 },
      { a: '1', count: 2 },
      { headers: 'object', status: 200, a: '1' },
    ]);
  });

  it('is called on its controller, within the context of its middleware', async () => {
    const callers = new AsyncLocalStorage<string>();

    @Controller()
    class Contexts {
      private readonly greeting = 'hello';

      @Sse('caller')
      async greet() {
        await delay(1);
        return of({ data: `${this.greeting} ${callers.getStore()}` });
      }
    }

    @Module({ controllers: [Contexts] })
    class ContextsModule implements NestModule {
      configure(consumer: MiddlewareConsumer) {
        consumer
          .apply((req: { headers: Record<string, string> }, _res: unknown, next: () => void) =>
            callers.run(req.headers['x-caller']!, next),
          )
          .forRoutes(Contexts);
      }
    }
    const app = await create({ imports: [...imports, ContextsModule] });
    const streams = await Promise.all(
      ['ada', 'bob'].map((caller) => open(app, '/caller', { headers: { 'x-caller': caller } })),
    );
    expect((await Promise.all(streams.map((stream) => stream.next()))).map(({ data }) => data)).toEqual([
      'hello ada',
      'hello bob',
    ]);
  });

  it('may return what it follows with connection.follow()', async () => {
    @Controller()
    class Orders {
      @Sse('orders')
      async orders(@Connection() connection: SseConnection) {
        await delay(1);
        return connection.follow('orders.*');
      }
    }
    const app = await create({ imports, controllers: [Orders] });
    const sse = app.get(SseService);
    const stream = await open(app, '/orders');
    expect((await stream.next()).type).toBe('cursor');
    await sse.publish('orders.7', { type: 'changed', data: 'seven' });
    const { id } = await stream.next();
    await stream.close();
    await sse.publish('orders.8', { type: 'changed', data: 'eight' });
    const resumed = await open(app, '/orders', { lastEventId: id });
    expect(await resumed.next()).toMatchObject({ type: 'changed', data: 'eight' });
    expect(sse.connections.size).toBe(1);
  });

  it('has its connection closed if a pipe refuses another of its parameters', async () => {
    @Controller()
    class Numbers {
      @Sse('numbers/:number')
      number(@Connection() connection: SseConnection, @Param('number', ParseIntPipe) number: number) {
        return of({ data: number, type: connection.id });
      }
    }
    const app = await create({ imports, controllers: [Numbers] });
    const { connections } = app.get(SseService);
    const stream = await open(app, '/numbers/seven');
    expect(stream.status).toBe(400);
    expect(JSON.parse(await stream.body())).toMatchObject({ statusCode: 400 });
    await waitFor(() => connections.size === 0);
    expect(await dataOf(app, '/numbers/7')).toEqual(['7']);
  });
});

describe('an app without interceptors', () => {
  const { create } = anyPlatform;

  it('keeps its controllers and their metadata as they were', async () => {
    @Controller()
    class Feeds {
      @Sse('feed')
      feed(@Query('a') a: string) {
        return of({ data: a });
      }
    }
    const metadata = () =>
      [Feeds, Feeds.prototype.feed].map((target) => [
        ...Reflect.getMetadataKeys(target),
        ...Reflect.getMetadataKeys(target, 'feed').map(
          (key: unknown) => Reflect.getMetadata(key, target, 'feed') as unknown,
        ),
      ]);
    const before = metadata();
    const { feed } = Feeds.prototype;
    const app = await create({ imports, controllers: [Feeds] });
    expect(metadata()).toEqual(before);
    const controller = app.get(Feeds);
    expect(Object.getOwnPropertyNames(controller)).toEqual([]);
    expect(controller.feed).toBe(feed);
    expect(Feeds.prototype.feed).toBe(feed);
    expect(await dataOf(app, '/feed?a=1')).toEqual(['1']);
  });

  it('can call its own handlers at any time', async () => {
    const called: unknown[] = [];

    @Controller()
    class Feeds implements OnModuleInit, OnApplicationBootstrap {
      @Sse('feed')
      feed(@Query('a') a: string) {
        return of({ data: a });
      }

      @Sse('twice')
      twice(@Query('a') a: string): Observable<unknown> {
        return concat(this.feed(a), this.feed(a));
      }

      onModuleInit() {
        this.feed('init').subscribe((event) => called.push(event));
      }

      onApplicationBootstrap() {
        this.feed('bootstrap').subscribe((event) => called.push(event));
      }
    }

    @Module({ controllers: [Feeds] })
    class FeedsModule implements NestModule {
      constructor(private readonly ref: ModuleRef) {}

      configure() {
        this.ref
          .get(Feeds)
          .feed('configure')
          .subscribe((event) => called.push(event));
      }
    }
    const app = await create({ imports: [FeedsModule, ...imports] });
    expect(called).toEqual([{ data: 'configure' }, { data: 'init' }, { data: 'bootstrap' }]);
    expect(await dataOf(app, '/twice?a=1')).toEqual(['1', '1']);
  });

  it('has its handlers serve themselves with middleware, mixins, overridden and inherited controllers', async () => {
    abstract class Base {
      @Sse('inherited')
      inherited(@Query('a') a: string) {
        return of({ data: `${this.constructor.name} ${a}` });
      }
    }

    @Controller('one')
    class One extends Base {}

    @Controller('two')
    class Two extends One {}

    @Controller('three')
    class Three extends One {
      @Sse('inherited')
      override inherited(@Query('a') a: string) {
        return super.inherited(`${a}!`).pipe(map(({ data }) => ({ data: `over ${data}` })));
      }
    }

    function feedOf(name: string): Type {
      @Controller(name)
      class Mixin {
        @Sse('mixed')
        mixed(@Query('a') a: string) {
          return of({ data: `${name} ${a}` });
        }
      }
      return Mixin;
    }
    for (const controllers of [
      [One, Two, Three],
      [Three, Two, One],
    ]) {
      const app = await create({
        imports,
        controllers: [...controllers, Rooms, feedOf('red'), feedOf('blue')],
      });
      expect(await servesItself(app)).toBe(true);
      expect(await dataOf(app, '/one/inherited?a=1')).toEqual(['One 1']);
      expect(await dataOf(app, '/two/inherited?a=1')).toEqual(['Two 1']);
      expect(await dataOf(app, '/three/inherited?a=1')).toEqual(['over Three 1!']);
      expect(await dataOf(app, '/red/mixed?a=1')).toEqual(['red 1']);
      expect(await dataOf(app, '/blue/mixed?a=1')).toEqual(['blue 1']);
    }
  });

  it.each<[name: string, controller: () => Type]>([
    [
      'that is frozen',
      () => {
        @Controller()
        class Frozen {
          constructor() {
            Object.freeze(this);
          }

          @Sse('feed')
          feed() {
            return of({ data: 'served' });
          }
        }
        return Frozen;
      },
    ],
    [
      'behind a class decorator that returns a Proxy',
      () => {
        const proxied = <T extends Type>(type: T) => new Proxy(type, {});
        @Controller()
        @proxied
        class Proxied {
          @Sse('feed')
          feed() {
            return of({ data: 'served' });
          }
        }
        return Proxied;
      },
    ],
    [
      'that a mixin helper gave another constructor',
      () => {
        class Base {
          @Sse('feed')
          feed() {
            return of({ data: 'served' });
          }
        }
        @Controller()
        class Mixed {}
        for (const name of ['feed', 'constructor']) {
          Object.defineProperty(
            Mixed.prototype,
            name,
            Object.getOwnPropertyDescriptor(Base.prototype, name)!,
          );
        }
        return Mixed;
      },
    ],
  ])('serves its routes with a controller %s as well', async (_name, controller) => {
    const app = await create({ imports, controllers: [controller()] });
    const stream = await open(app, '/feed');
    expect(await stream.ended).toBe('complete');
    expect(stream.raw).toBe('retry: 3000\ndata: served\n\n');
  });

  it('does not start if a handler was replaced while it was starting', async () => {
    @Module({ controllers: [Rooms] })
    class LateModule implements NestModule {
      constructor(private readonly ref: ModuleRef) {}

      async configure() {
        await delay(1);
        const value = Rooms.prototype.rooms;
        Object.defineProperty(this.ref.get(Rooms), 'rooms', { value, configurable: true });
      }
    }
    const failure = await create({ imports: [...imports, LateModule] }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SseError);
    expect(failure).toMatchObject({
      code: 'misuse',
      message: expect.stringContaining('Rooms.rooms was replaced on its controller'),
    });
  });
});

describe('an interceptor of the app', () => {
  const { create } = anyPlatform;

  class Upper implements NestInterceptor {
    intercept(_context: ExecutionContext, next: CallHandler) {
      return next.handle().pipe(map((event) => ({ data: (event as { data: string }).data.toUpperCase() })));
    }
  }

  it('that comes from configure() of another module sees every event', async () => {
    @Module({})
    class LateModule implements NestModule {
      constructor(@Inject(ApplicationConfig) private readonly config: ApplicationConfig) {}

      async configure() {
        await delay(1);
        this.config.useGlobalInterceptors(new Upper());
      }
    }
    const app = await create({ imports: [...imports, LateModule], controllers: [Rooms] });
    const stream = await open(app, '/rooms');
    expect(await stream.ended).toBe('complete');
    expect(stream.raw).toBe('retry: 3000\ndata: BLUE\n\n');
    expect(await servesItself(app)).toBe(false);
  });

  it('that is added after the start of the app has no effect, as in Nest', async () => {
    const answers = [];
    for (const modules of [[], imports]) {
      const app = await create({ imports: modules, controllers: [Rooms] });
      app.useGlobalInterceptors(new Upper());
      answers.push(await dataOf(app, '/rooms'), await servesItself(app));
    }
    expect(answers).toEqual([['blue'], true, ['blue'], true]);
  });

  it('that a lazy module adds has no effect, as in Nest', async () => {
    @Module({ providers: [{ provide: APP_INTERCEPTOR, useClass: Upper }] })
    class LazyModule {}
    const answers = [];
    for (const modules of [[], imports]) {
      const app = await create({ imports: modules, controllers: [Rooms] });
      await app.get(LazyModuleLoader).load(() => LazyModule);
      answers.push(await dataOf(app, '/rooms'), await servesItself(app));
    }
    expect(answers).toEqual([['blue'], true, ['blue'], true]);
  });

  it('of one of two apps that start together with the same controllers has no effect in the other', async () => {
    for (const configure of [
      [(app: INestApplication) => app.useGlobalInterceptors(new Upper()), () => undefined],
      [() => undefined, (app: INestApplication) => app.useGlobalInterceptors(new Upper())],
    ]) {
      const apps = await Promise.all(
        configure.map((set) => create({ imports, controllers: [Rooms] }, { configure: set })),
      );
      const answers = await Promise.all(apps.map((app) => dataOf(app, '/rooms')));
      expect(answers.flat().toSorted()).toEqual(['BLUE', 'blue']);
      const serve = await Promise.all(apps.map(servesItself));
      expect(serve).toEqual(answers.map(([data]) => data === 'blue'));
    }
  });

  it('is added to neither of two apps that start together with the same controllers, one without the module', async () => {
    for (const modules of [
      [[], imports],
      [imports, []],
    ]) {
      const apps = await Promise.all(
        modules.map((imported) => create({ imports: imported, controllers: [Rooms] })),
      );
      expect(await Promise.all(apps.map(servesItself))).toEqual([true, true]);
      const streams = await Promise.all(apps.map((app) => open(app, '/rooms')));
      await Promise.all(streams.map(({ ended }) => ended));
      expect(streams.map(({ retries }) => retries.length)).toEqual(modules.map(({ length }) => length));
    }
  });
});

describe('a testing module', () => {
  @Injectable()
  class Names {
    readonly name: string = 'real';
  }

  @Injectable()
  class Shut implements CanActivate {
    canActivate() {
      return false;
    }
  }

  @Controller()
  class Named {
    constructor(private readonly names: Names) {}

    @Sse('name')
    @UseGuards(Shut)
    name() {
      return of({ data: this.names.name });
    }
  }

  @Module({ imports: [SseModule.forRoot({ retryMs: 5 })], controllers: [Named, Rooms], providers: [Names] })
  class AppModule {}

  it('applies its overrides in the handlers', async () => {
    const testing = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(Names)
      .useValue({ name: 'fake' })
      .overrideGuard(Shut)
      .useValue({ canActivate: () => true })
      .compile();
    const app = testing.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    const stream = await open(app, '/name');
    expect(await stream.ended).toBe('complete');
    expect(stream.raw).toBe('retry: 5\ndata: fake\n\n');
    expect(await servesItself(app)).toBe(true);
    await app.close();
  });

  it('may replace a handler before it starts, which then is no @Sse() route, as in Nest', async () => {
    for (const modules of [[], imports]) {
      const testing = await Test.createTestingModule({ imports: modules, controllers: [Rooms] }).compile();
      Object.assign(testing.get(Rooms), { rooms: () => 'plain' });
      const app = testing.createNestApplication({ logger: false });
      await app.listen(0, '127.0.0.1');
      expect(await (await open(app, '/rooms')).body()).toBe('plain');
      await app.close();
    }
  });
});
