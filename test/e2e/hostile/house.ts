import 'reflect-metadata';
import { CacheInterceptor, CacheModule } from '@nestjs/cache-manager';
import {
  ClassSerializerInterceptor,
  Controller,
  Injectable,
  Module,
  ValidationPipe,
  VersioningType,
} from '@nestjs/common';
import type {
  CallHandler,
  DynamicModule,
  ExecutionContext,
  INestApplication,
  NestInterceptor,
  Provider,
  Type,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR, NestFactory, Reflector } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { AbstractGraphQLDriver, GraphQLModule, Query, Resolver } from '@nestjs/graphql';
import type { GqlModuleOptions } from '@nestjs/graphql';
import { MessagePattern, Transport } from '@nestjs/microservices';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';
import { graphql } from 'graphql';
import type { GraphQLSchema } from 'graphql';
import { SseModule, SseService } from 'nestjs-event-stream';
import { LoggerModule } from 'nestjs-pino';
import { createRequire } from 'node:module';
import type { Server } from 'node:net';
import { map, tap, timeout } from 'rxjs';
import { bareStreams } from './bare-streams.js';
import { loggers } from './loggers.js';
import type { Journal } from './loggers.js';
import { moduleRoutes } from './module-routes.js';
import { oddRoutes } from './odd-routes.js';
import { handWrittenRoutes, plainRoutes, sseRoutes, STREAMS, Subscriptions } from './routes.js';
import type { Streams } from './routes.js';

const need = createRequire(import.meta.url);
const { ClsModule } = need('nestjs-cls') as typeof import('nestjs-cls');
/** Middleware without types of its own. */
const middleware = (name: string, options?: object) => (need(name) as (options?: object) => never)(options);

/** In which order an app has its middleware, and which interceptors stand around its routes. */
export const ORDERS = ['no interceptors', 'all', 'all, in reverse'] as const;
export type Order = (typeof ORDERS)[number];
export const PLATFORMS = ['Express', 'Fastify'] as const;

export interface HouseOptions {
  readonly platform: (typeof PLATFORMS)[number];
  readonly order: Order;
  /** Whether the app has SseModule, or is plain Nest. */
  readonly withModule: boolean;
  /** Modules of a tracer. */
  readonly imports?: DynamicModule[];
}

export interface House extends HouseOptions {
  readonly app: INestApplication;
  readonly port: number;
  /** Of its microservice. */
  readonly tcpPort: number;
  readonly journal: HouseJournal;
  readonly subscriptions: Subscriptions;
}

/** What pino wrote for all apps of the process, a line each: nestjs-pino has one logger for them. */
export const pinoLines: string[] = [];

export interface HouseJournal extends Journal {
  /** What interceptors of the app saw, by the name of the handler. */
  readonly intercepted: Map<string, string[]>;
}

/** Starts an app that has what real apps have around their routes. */
export async function startHouse(options: HouseOptions): Promise<House> {
  const journal: HouseJournal = { bodies: new Map(), ends: new Map(), intercepted: new Map() };
  const app = await NestFactory.create(houseModule(options, journal), adapterOf(options), {
    logger: false,
    abortOnError: false,
  });
  app.enableVersioning({ type: VersioningType.URI });
  app.setGlobalPrefix('api');
  app.enableCors({ origin: 'https://app.example', credentials: true });
  app.useGlobalPipes(
    new ValidationPipe({
      transform: true,
      whitelist: true,
      forbidNonWhitelisted: true,
      validateCustomDecorators: true,
      transformOptions: { enableImplicitConversion: true },
    }),
  );
  if (options.order !== 'no interceptors') {
    app.useGlobalInterceptors(new ClassSerializerInterceptor(app.get(Reflector)));
  }
  await (options.platform === 'Express'
    ? useExpress(app, options, journal)
    : useFastify(app, options, journal));
  const service = app.connectMicroservice(
    { transport: Transport.TCP, options: { port: 0, host: '127.0.0.1' } },
    { inheritAppConfig: true },
  );
  await app.startAllMicroservices();
  const document = SwaggerModule.createDocument(app, new DocumentBuilder().build());
  SwaggerModule.setup('docs', app, document, { ui: false, raw: ['json'] });
  await app.listen(0, '127.0.0.1');
  return {
    ...options,
    app,
    port: portOf(app.getHttpServer() as Server),
    tcpPort: portOf(service.unwrap<Server>()),
    journal,
    subscriptions: app.get(Subscriptions),
  };
}

/** How many streams of the module are open. */
export function connectionsOf(app: INestApplication): number {
  return app.get(SseService, { strict: false }).connections.size;
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

function adapterOf({ platform }: HouseOptions): AbstractHttpAdapter {
  return platform === 'Express' ? new ExpressAdapter() : new FastifyAdapter();
}

const SESSION = { secret: 'a secret of thirty-two characters or more', cookie: { secure: false } };

async function useExpress(app: INestApplication, { order }: HouseOptions, journal: Journal): Promise<void> {
  const layers = [
    middleware('compression', { threshold: 0 }),
    middleware('helmet'),
    middleware('cookie-parser'),
    middleware('express-session', { ...SESSION, resave: false, saveUninitialized: false }),
    ...loggersOf(order, journal),
  ];
  inOrder(layers, order).forEach((layer) => app.use(layer));
}

async function useFastify(app: INestApplication, { order }: HouseOptions, journal: Journal): Promise<void> {
  const fastify = app as INestApplication & { register(plugin: never, options?: object): Promise<unknown> };
  const plugins: [string, object][] = [
    ['@fastify/compress', { threshold: 0 }],
    ['@fastify/helmet', {}],
  ];
  // Sessions need cookies before them.
  const sessions: [string, object][] = [
    ['@fastify/cookie', {}],
    ['@fastify/session', { ...SESSION, saveUninitialized: false }],
  ];
  const ordered =
    order === 'all, in reverse' ? [...sessions, ...plugins.toReversed()] : [...plugins, ...sessions];
  for (const [name, options] of ordered) {
    await fastify.register(need(name) as never, options);
  }
  inOrder(loggersOf(order, journal), order).forEach((layer) => app.use(layer));
}

function loggersOf(order: Order, journal: Journal) {
  const { 'loops over arguments': loops, ...others } = loggers(journal);
  // Beneath compression it breaks plain Nest as well, which hands it an explicit undefined.
  return order === 'all, in reverse' ? Object.values(others) : [...Object.values(others), loops!];
}

function inOrder<T>(layers: T[], order: Order): T[] {
  return order === 'all, in reverse' ? layers.toReversed() : layers;
}

function houseModule(options: HouseOptions, journal: HouseJournal): Type<unknown> {
  const { withModule, order, imports = [] } = options;
  const streams: Provider = withModule
    ? { provide: STREAMS, useFactory: (sse: SseService): Streams => streamsOf(sse), inject: [SseService] }
    : { provide: STREAMS, useValue: bareStreams };

  @Controller()
  class Messages {
    @MessagePattern('sum')
    sum(numbers: number[]) {
      return numbers.reduce((sum, n) => sum + n, 0);
    }
  }

  @Resolver()
  class Greetings {
    @Query(() => String)
    greeting() {
      return 'hello';
    }
  }

  @Module({
    imports: inOrder(
      [
        LoggerModule.forRoot({
          pinoHttp: { stream: { write: (line: string) => void pinoLines.push(line) } },
        }),
        ClsModule.forRoot({
          global: true,
          middleware: {
            mount: true,
            generateId: true,
            idGenerator: (req: { headers: Record<string, string> }) => `${req.headers['x-request']}`,
          },
        }),
        ThrottlerModule.forRoot({
          throttlers: [{ ttl: 60_000, limit: 100_000 }],
          skipIf: (context) => context.getType() !== 'http',
        }),
        CacheModule.register({ ttl: 60_000 }),
        GraphQLModule.forRoot({ driver: TinyGraphQL, autoSchemaFile: true }),
        ...imports,
        ...(withModule ? [SseModule.forRoot({ drain: { spreadMs: 100 } })] : []),
      ],
      order,
    ),
    controllers: [
      Messages,
      sseRoutes(),
      ...oddRoutes(),
      handWrittenRoutes(),
      plainRoutes(),
      ...(withModule ? [moduleRoutes()] : []),
    ],
    providers: [
      Greetings,
      Subscriptions,
      streams,
      { provide: APP_GUARD, useClass: ThrottlerGuard },
      ...inOrder(interceptors(order, journal), order),
    ],
  })
  class HouseModule {}
  return HouseModule;
}

function interceptors(order: Order, journal: HouseJournal): Provider[] {
  /** Writes down each value, as loggers of answers do. */
  @Injectable()
  class NotesValues implements NestInterceptor {
    intercept(context: ExecutionContext, next: CallHandler) {
      const name = context.getHandler().name;
      const seen = journal.intercepted.get(name) ?? [];
      journal.intercepted.set(name, seen);
      return next.handle().pipe(tap((value) => seen.push(JSON.stringify(value) ?? 'undefined')));
    }
  }

  /** Nest's own knows of HTTP alone, and as a global one stands around resolvers and messages as well. */
  @Injectable()
  class CachesAnswers extends CacheInterceptor {
    override async intercept(context: ExecutionContext, next: CallHandler) {
      return context.getType() === 'http' ? super.intercept(context, next) : next.handle();
    }
  }

  /** As in Nest's own documentation. */
  @Injectable()
  class Timeout implements NestInterceptor {
    intercept(_context: ExecutionContext, next: CallHandler) {
      return next.handle().pipe(timeout(700));
    }
  }

  /** Wraps all answers, as many apps do; JSON for a `@Get()`, an event each for an `@Sse()`. */
  @Injectable()
  class Wraps implements NestInterceptor {
    intercept(context: ExecutionContext, next: CallHandler) {
      return context.getType() === 'http' ? next.handle().pipe(map((data) => ({ data }))) : next.handle();
    }
  }

  switch (order) {
    case 'no interceptors':
      return [];
    case 'all':
      return [NotesValues, Timeout, CachesAnswers].map((useClass) => ({
        provide: APP_INTERCEPTOR,
        useClass,
      }));
    case 'all, in reverse':
      return [NotesValues, Timeout, Wraps].map((useClass) => ({ provide: APP_INTERCEPTOR, useClass }));
  }
}

function streamsOf(sse: SseService): Streams {
  return {
    open: (res) => sse.connect(res),
    stream: (res, items) => sse.stream(res, items),
  };
}

/** GraphQL beside the routes, with Nest's own context for resolvers: global interceptors stand around these, too. */
class TinyGraphQL extends AbstractGraphQLDriver {
  async start(options: GqlModuleOptions & { schema?: GraphQLSchema }): Promise<void> {
    const { httpAdapter } = this.httpAdapterHost;
    httpAdapter.post('/graphql', (request: { body: { query: string } }, response: unknown) => {
      void graphql({ schema: options.schema!, source: request.body.query }).then((result) =>
        httpAdapter.reply(response, result, 200),
      );
    });
  }

  async stop(): Promise<void> {}
}
