import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Injectable, Module, Sse } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata } from '@nestjs/common';
import { Connection, SSE_OPTIONS, SseError, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions, SseOptionsFactory } from 'nestjs-event-stream';
import { concat, NEVER, of } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

// What is tested here happens before the first request, and is the same on all platforms.
const { create } = platforms[0]!;

@Controller()
class Feed {
  @Sse('feed')
  feed() {
    return concat(of({ data: 'first' }), NEVER);
  }
}

/** Starts an app that must fail, and returns the error. */
async function failureOf(metadata: ModuleMetadata): Promise<unknown> {
  try {
    await create(metadata);
  } catch (error) {
    return error;
  }
  throw new Error('The app has started.');
}

async function retryOf(module: DynamicModule): Promise<number | undefined> {
  const stream = await open(await create({ imports: [module], controllers: [Feed] }), '/feed');
  await stream.next();
  return stream.retry;
}

afterEach(closeAll);

describe('SseModule.forRoot()', () => {
  it('accepts no options at all', async () => {
    expect(await retryOf(SseModule.forRoot())).toBe(3000);
  });

  it('accepts every option, and undefined for each', async () => {
    const options: SseModuleOptions = {
      heartbeatMs: false,
      retryMs: 0,
      maxConnections: 10,
      maxConnectionMs: 60_000,
      maxBufferedBytes: 2_000_000,
      maxEventBytes: 500_000,
      drain: { delayMs: 0, timeoutMs: 500, spreadMs: 100 },
      enhanceSseRoutes: true,
    };
    expect(await retryOf(SseModule.forRoot(options))).toBe(0);
    const none = Object.fromEntries(Object.keys(options).map((option) => [option, undefined]));
    expect(await retryOf(SseModule.forRoot(none))).toBe(3000);
  });

  it('is global, so that the service can be injected anywhere', async () => {
    @Injectable()
    class News {
      constructor(readonly sse: SseService) {}
    }
    @Module({ providers: [News], exports: [News] })
    class NewsModule {}
    const app = await create({ imports: [SseModule.forRoot(), NewsModule] });
    expect(app.get(News).sse).toBe(app.get(SseService));
  });

  it.each<[options: object, field: string, message: string]>([
    [
      { heartbeatMs: -1 },
      'heartbeatMs',
      'heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got -1.',
    ],
    [
      { heartbeatMs: NaN },
      'heartbeatMs',
      'heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got NaN.',
    ],
    [
      { heartbeatMs: true },
      'heartbeatMs',
      'heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got true.',
    ],
    [
      { heartbeatMs: '15s' },
      'heartbeatMs',
      'heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got "15s".',
    ],
    [{ heartbeatMs: 2 ** 31 }, 'heartbeatMs', 'from 10 to 2147483647, or false, got 2147483648.'],
    [{ retryMs: -1 }, 'retryMs', 'retryMs must be a whole number, 0 to 2147483647, got -1.'],
    [{ retryMs: 1.5 }, 'retryMs', 'retryMs must be a whole number, 0 to 2147483647, got 1.5.'],
    [{ maxConnections: 0 }, 'maxConnections', 'maxConnections must be a number, 1 or more, got 0.'],
    [{ maxConnectionMs: 0 }, 'maxConnectionMs', 'maxConnectionMs must be a number, 1 or more, got 0.'],
    [
      { maxBufferedBytes: '1mb' },
      'maxBufferedBytes',
      'maxBufferedBytes must be a number, 1 or more, got "1mb".',
    ],
    [{ maxEventBytes: 0 }, 'maxEventBytes', 'maxEventBytes must be a number, 1 or more, got 0.'],
    [{ drain: 5 }, 'drain', 'drain must be an object, got 5.'],
    [
      { drain: { delayMs: -1 } },
      'drain.delayMs',
      'drain.delayMs must be a number of milliseconds from 0 to 2147483647, got -1.',
    ],
    [
      { drain: { wait: 1 } },
      'wait',
      'drain has no option "wait". The options are delayMs, timeoutMs, leastRetryMs, spreadMs.',
    ],
    [{ enhanceSseRoutes: 'no' }, 'enhanceSseRoutes', 'enhanceSseRoutes must be true or false, got "no".'],
    [
      { heartbeat: 15_000 },
      'heartbeat',
      'SseModule has no option "heartbeat". The options are heartbeatMs, ',
    ],
    [{ expiresAt: new Date() }, 'expiresAt', 'SseModule has no option "expiresAt".'],
  ])(
    'refuses %j when the app starts, with a message that says what to give',
    async (options, field, message) => {
      const failure = await failureOf({ imports: [SseModule.forRoot(options)] });
      expect(failure).toBeInstanceOf(SseError);
      expect(failure).toMatchObject({
        code: 'options-invalid',
        field,
        message: expect.stringContaining(message),
      });
    },
  );
});

describe('SseModule.forRootAsync()', () => {
  @Injectable()
  class Config {
    readonly retryMs = 1234;
  }
  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}

  @Injectable()
  class FromConfig implements SseOptionsFactory {
    constructor(private readonly config: Config) {}

    createSseOptions() {
      return { retryMs: this.config.retryMs };
    }
  }
  @Module({ imports: [ConfigModule], providers: [FromConfig], exports: [FromConfig] })
  class FactoryModule {}

  it.each<[name: string, module: () => DynamicModule]>([
    [
      'useFactory',
      () =>
        SseModule.forRootAsync({
          imports: [ConfigModule],
          inject: [Config],
          useFactory: ({ retryMs }: Config) => ({ retryMs }),
        }),
    ],
    [
      'useFactory with a promise',
      () =>
        SseModule.forRootAsync({
          imports: [ConfigModule],
          inject: [Config],
          useFactory: async ({ retryMs }: Config) => ({ retryMs }),
        }),
    ],
    ['useClass', () => SseModule.forRootAsync({ imports: [ConfigModule], useClass: FromConfig })],
    ['useExisting', () => SseModule.forRootAsync({ imports: [FactoryModule], useExisting: FromConfig })],
  ])('accepts the options from %s', async (_name, module) => {
    expect(await retryOf(module())).toBe(1234);
  });

  it('is global as well', async () => {
    const app = await create({
      imports: [SseModule.forRootAsync({ useFactory: () => ({}) })],
      controllers: [Feed],
    });
    expect(app.get(SseService)).toBeInstanceOf(SseService);
  });

  it('refuses invalid options of a factory when the app starts', async () => {
    const failure = await failureOf({
      imports: [SseModule.forRootAsync({ useFactory: async () => ({ heartbeatMs: -1 }) })],
    });
    expect(failure).toMatchObject({ code: 'options-invalid', field: 'heartbeatMs' });
  });

  it('passes on the error of a factory', async () => {
    const cause = new Error('no config');
    const useFactory = () => Promise.reject<SseModuleOptions>(cause);
    expect(await failureOf({ imports: [SseModule.forRootAsync({ useFactory })] })).toBe(cause);
  });

  it('keeps the options as SSE_OPTIONS, as they were given', async () => {
    const options = { retryMs: 5 };
    const sse = SseModule.forRootAsync({ useFactory: () => options });
    const app = await create({ imports: [sse] });
    expect(app.get(SSE_OPTIONS)).toBe(options);
  });
});

describe('an app does not start', () => {
  const imports = [SseModule.forRoot()];
  const misuse = (message: string) => ({ code: 'misuse', message: expect.stringContaining(message) });

  it('with a second forRoot() in a feature module', async () => {
    @Module({ imports: [SseModule.forRootAsync({ useFactory: () => ({}) })] })
    class OrdersModule {}
    @Module({ imports: [OrdersModule, SseModule.forRoot()] })
    class AppModule {}
    const failure = await failureOf({ imports: [AppModule] });
    expect(failure).toBeInstanceOf(SseError);
    expect(failure).toMatchObject(
      misuse('SseModule is imported more than once: see AppModule, OrdersModule. '),
    );
    expect(await failureOf({ imports: [SseModule.forRoot(), SseModule.forRoot()] })).toMatchObject(
      misuse('SseModule is imported more than once. '),
    );
  });

  it('unless the second import is the same module, or is not global', async () => {
    const sse = SseModule.forRoot();
    @Module({ imports: [sse] })
    class OrdersModule {}
    @Module({ imports: [SseModule.forRoot({ isGlobal: false })] })
    class AuditModule {}
    const app = await create({ imports: [sse, OrdersModule, AuditModule] });
    expect(app.get(SseService)).toBeInstanceOf(SseService);
  });

  it('with @Connection() in a handler without @Sse()', async () => {
    @Controller()
    class Orders {
      @Get('orders')
      orders(@Connection() connection: SseConnection) {
        return connection.id;
      }
    }
    const failure = await failureOf({ imports, controllers: [Orders] });
    expect(failure).toBeInstanceOf(SseError);
    expect(failure).toMatchObject(
      misuse(
        'Orders.orders has a parameter with @Connection() and is no @Sse() route. ' +
          'Take the response with @Res() and call SseService.connect(res) instead.',
      ),
    );
  });

  it('with @SseOptions() on a handler without @Sse()', async () => {
    @Controller()
    class Orders {
      @Get('orders')
      @SseOptions({ heartbeatMs: 1000 })
      orders() {
        return [];
      }
    }
    expect(await failureOf({ imports, controllers: [Orders] })).toMatchObject(
      misuse(
        'Orders.orders has @SseOptions() and is no @Sse() route. ' +
          'Hand the options to SseService.connect(res, options) or stream(res, source, options) instead.',
      ),
    );
  });

  it('with @SseOptions() on a controller without @Sse() routes', async () => {
    @Controller()
    @SseOptions({ heartbeatMs: 1000 })
    class Orders {
      @Get('orders')
      orders() {
        return [];
      }
    }
    expect(await failureOf({ imports, controllers: [Orders] })).toMatchObject(
      misuse(
        'Orders has @SseOptions() and no @Sse() route. ' +
          'Hand the options to SseService.connect(res, options) or stream(res, source, options) instead.',
      ),
    );
    const left = [SseModule.forRoot({ enhanceSseRoutes: false })];
    expect(await failureOf({ imports: left, controllers: [Orders] })).toMatchObject(
      misuse('Orders has @SseOptions() and no @Sse() route.'),
    );
  });

  it.each([
    [
      'a parameter with @Connection()',
      () => {
        @Controller()
        class Left {
          @Sse('left')
          left(@Connection() connection: SseConnection) {
            return of(connection.id);
          }
        }
        return Left;
      },
    ],
    [
      '@SseOptions()',
      () => {
        @Controller()
        class Left {
          @Sse('left')
          @SseOptions({ heartbeatMs: 1000 })
          left() {
            return of('left');
          }
        }
        return Left;
      },
    ],
  ])('with %s on a route that is left to Nest', async (what, controller) => {
    const failure = await failureOf({
      imports: [SseModule.forRoot({ enhanceSseRoutes: false })],
      controllers: [controller()],
    });
    expect(failure).toMatchObject(
      misuse(`Left.left has ${what} and is left to Nest by enhanceSseRoutes: false.`),
    );
  });

  it.each<[options: object, field: string, message: string]>([
    [
      { heartbeatMs: 1 },
      'heartbeatMs',
      '@SseOptions() of Orders.orders: heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got 1.',
    ],
    [{ heartBeatMs: 1000 }, 'heartBeatMs', '@SseOptions() of Orders.orders: '],
    [{ maxConnections: 10 }, 'maxConnections', '@SseOptions() of Orders.orders: '],
    [
      { expiresAt: new Date() },
      'expiresAt',
      '@SseOptions() of Orders.orders: expiresAt must be a function (request) => Date | undefined, got ',
    ],
  ])('with @SseOptions(%j)', async (options, field, message) => {
    const onRoute = () => {
      @Controller()
      class Orders {
        @Sse('orders')
        @SseOptions(options)
        orders() {
          return of('order');
        }
      }
      return Orders;
    };
    const onController = () => {
      @Controller()
      @SseOptions(options)
      class Orders {
        @Sse('orders')
        orders() {
          return of('order');
        }
      }
      return Orders;
    };
    for (const controller of [onRoute(), onController()]) {
      const failure = await failureOf({ imports, controllers: [controller] });
      expect(failure).toMatchObject({
        code: 'options-invalid',
        field,
        message: expect.stringContaining(message),
      });
    }
  });
});

it('@Connection() in an app without the module fails with a message that names it', async () => {
  @Controller()
  class Orders {
    @Sse('orders')
    orders(@Connection() connection: SseConnection) {
      return of(connection.id);
    }
  }
  const errors: string[] = [];
  const silent = () => undefined;
  const logger = {
    log: silent,
    warn: silent,
    error: (...message: unknown[]) => errors.push(message.join(' ')),
  };
  const stream = await open(await create({ controllers: [Orders] }, { logger }), '/orders');
  expect(stream.status).toBe(500);
  expect(errors.join()).toContain('@Connection() needs SseModule.forRoot() in the imports of the app');
});
