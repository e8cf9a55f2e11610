/** The Nest apps that are measured. What is in one is said by its first argument, as JSON. */
import 'reflect-metadata';
import { Controller, Get, Module, Query, Res, Sse } from '@nestjs/common';
import type { CallHandler, DynamicModule, ExecutionContext, NestInterceptor, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { merge, NEVER, Subject } from 'rxjs';
import type { Observable } from 'rxjs';
import { publishing, remotePublishing, topicsOf } from './publishing.js';
import type { Topics } from './publishing.js';
import { serve } from './serve.js';

interface Config extends Partial<Topics> {
  adapter: 'Express' | 'Fastify' | 'Fastify on HTTP/2';
  /** Whether `SseModule.forRoot()` is imported. */
  module: boolean;
  /** Its options. */
  options?: object;
  /** Whether each connection belongs to keys, and so has the limits of each key. */
  hasKeys?: boolean;
  /** The options of its log, where that is on Redis, on NATS, or on PostgreSQL. */
  redis?: object;
  nats?: object;
  postgres?: { url: string; startTimeoutMs: number; commandTimeoutMs: number };
  /** The first one says what publishes: a Subject for `subject`, else the module. */
  routes: ('plain' | 'held' | 'sse' | 'subject' | 'connect' | 'connect-follow' | 'member' | 'sse-follow')[];
  /** Whether the app has a global interceptor of its own. */
  interceptor?: boolean;
}

interface RawResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(text: string): unknown;
}

const config = JSON.parse(process.argv[2]!) as Config;
const layout = { topics: config.topics ?? 1, perClient: config.perClient ?? 1 };
const subjects = Array.from({ length: layout.topics }, () => new Subject<object>());

@Controller()
class PlainController {
  @Get('plain')
  plain() {
    return { id: 42, name: 'a plain answer', tags: ['of', 'ordinary', 'size'] };
  }
}

/** The style without Nest's help: a response that is held open. */
@Controller()
class HeldController {
  @Get('held')
  held(@Res() res: RawResponse & { raw?: RawResponse; hijack?: () => void }) {
    res.hijack?.();
    const raw = res.raw ?? res;
    raw.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    raw.write('retry: 3000\n');
  }
}

@Controller()
class SseController {
  @Sse('sse')
  sse() {
    return NEVER;
  }
}

/** What is written where nothing but Nest is at hand: a Subject for each topic, shared by all who follow it. */
@Controller()
class SubjectController {
  @Sse('subject')
  subject(@Query('client') client = '0'): Observable<object> {
    const followed = topicsOf(Number(client), layout).map((topic) => subjects[topic]!);
    return followed.length === 1 ? followed[0]! : merge(...followed);
  }
}

class PassThrough implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

const controllers: Record<string, Type<unknown>> = {
  plain: PlainController,
  held: HeldController,
  sse: SseController,
  subject: SubjectController,
};
const imports: DynamicModule[] = [];
let withModule: typeof import('./with-module.js') | undefined;

if (config.module) {
  withModule = await import('./with-module.js');
  Object.assign(controllers, withModule.controllers(layout));
  imports.push(withModule.moduleWith(config.options, config));
}

@Module({ imports, controllers: config.routes.map((route) => controllers[route]!) })
class AppModule {}

const adapter =
  config.adapter === 'Express'
    ? new ExpressAdapter()
    : new FastifyAdapter((config.adapter === 'Fastify on HTTP/2' ? { http2: true } : {}) as object);
const app = await NestFactory.create(AppModule, adapter as unknown as AbstractHttpAdapter, {
  logger: ['error', 'warn'],
});
if (config.interceptor) {
  app.useGlobalInterceptors(new PassThrough());
}
await app.listen(0, '127.0.0.1');

const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
const { send, ...tasks } = withModule?.tasks(app, layout) ?? {};
const business = config.postgres && (await import('./business.js')).businessOf(app, config.postgres.url);
const isSubject = !send || config.routes[0] === 'subject';
serve({
  port,
  openStreams: () => 0,
  ...tasks,
  ...(send && remotePublishing(send)),
  ...business,
  publish: publishing(layout, isSubject ? (data, topic) => subjects[topic]!.next({ data }) : send),
  close: () => app.close(),
});
