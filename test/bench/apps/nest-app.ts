/** The Nest apps that are measured. What is in one is said by its first argument, as JSON. */
import 'reflect-metadata';
import { Controller, Get, Injectable, Module, Res, Sse } from '@nestjs/common';
import type { CallHandler, DynamicModule, ExecutionContext, NestInterceptor, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { NEVER } from 'rxjs';
import { serve } from './serve.js';

interface Config {
  adapter: 'Express' | 'Fastify' | 'Fastify on HTTP/2';
  /** Whether `SseModule.forRoot()` is imported. */
  module: boolean;
  routes: ('plain' | 'held' | 'sse' | 'connect')[];
  /** Whether the app has a global interceptor of its own. */
  interceptor?: boolean;
}

interface RawResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(text: string): unknown;
}

const config = JSON.parse(process.argv[2]!) as Config;

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

class PassThrough implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

const controllers: Record<string, Type<unknown>> = {
  plain: PlainController,
  held: HeldController,
  sse: SseController,
};
const imports: DynamicModule[] = [];
let openStreams = () => 0;

if (config.module) {
  const { SseModule, SseService } = await import('nestjs-event-stream');

  @Controller()
  class ConnectController {
    constructor(private readonly sse: InstanceType<typeof SseService>) {}

    @Get('connect')
    connect(@Res() res: object) {
      this.sse.connect(res);
    }
  }
  Reflect.defineMetadata('design:paramtypes', [SseService], ConnectController);

  @Injectable()
  class OpenStreams {
    constructor(sse: InstanceType<typeof SseService>) {
      openStreams = () => sse.connections.size;
    }
  }
  Reflect.defineMetadata('design:paramtypes', [SseService], OpenStreams);

  controllers.connect = ConnectController;
  imports.push(SseModule.forRoot(), { module: class StreamsModule {}, providers: [OpenStreams] });
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
if (config.interceptor) app.useGlobalInterceptors(new PassThrough());
await app.listen(0, '127.0.0.1');

const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
serve({ port, openStreams: () => openStreams(), close: () => app.close() });
