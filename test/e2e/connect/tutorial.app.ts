import 'reflect-metadata';
import type { ServerResponse } from 'node:http';
import { Controller, Get, Module, Res } from '@nestjs/common';
import type { Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SseModule, SseService } from 'nestjs-event-stream';

/** Express's response, or Fastify's reply. */
type AnyResponse = ServerResponse & { readonly raw?: ServerResponse };

const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  Connection: 'keep-alive',
};

@Controller()
class BareController {
  @Get('countdown')
  countdown(@Res() res: AnyResponse) {
    const raw = res.raw ?? res;
    raw.writeHead(200, HEADERS);
    let n = 3;
    const timer = setInterval(() => {
      n -= 1;
      if (n === 0) {
        clearInterval(timer);
        raw.end();
      }
      // The return that is missing above.
      raw.write(`data: ${n}\n\n`);
    }, 20);
  }

  @Get('alive')
  alive() {
    return 'alive';
  }
}

@Controller()
class TutorialController {
  constructor(private readonly sse: SseService) {}

  @Get('countdown')
  countdown(@Res() res: AnyResponse) {
    const raw = res.raw ?? res;
    raw.writeHead(200, HEADERS);
    let n = 3;
    const timer = setInterval(() => {
      n -= 1;
      if (n === 0) {
        clearInterval(timer);
        raw.end();
        raw.write('data: by hand\n\n');
      }
      this.sse.sendSseMessage(res, n);
    }, 20);
  }

  @Get('alive')
  alive() {
    return 'alive';
  }
}

const [style, adapter] = process.argv.slice(2);
const controllers: Type[] = style === 'bare' ? [BareController] : [TutorialController];

@Module({ imports: style === 'bare' ? [] : [SseModule.forRoot()], controllers })
class AppModule {}

const app = await NestFactory.create(
  AppModule,
  (adapter === 'Express' ? new ExpressAdapter() : new FastifyAdapter()) as unknown as AbstractHttpAdapter,
  { logger: false },
);
await app.listen(0, '127.0.0.1');
const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
console.log(`listening on ${port}`);
