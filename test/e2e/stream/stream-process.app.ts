import 'reflect-metadata';
import { Readable } from 'node:stream';
import { Controller, Get, HttpException, Module, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Observable } from 'rxjs';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { StreamSource } from 'nestjs-event-stream';

const whenAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));

@Controller()
class ProcessController {
  constructor(private readonly sse: SseService) {}

  @Get('early')
  early(@Res() res: object) {
    void this.sse.stream(res, async function* () {
      yield* [];
      throw new Error('early');
    });
  }

  @Get('early-http')
  earlyHttp(@Res() res: object) {
    void this.sse.stream(res, async function* () {
      yield* [];
      throw new HttpException('early', 429);
    });
  }

  @Get('no-source')
  noSource(@Res() res: object) {
    void this.sse.stream(res, undefined as unknown as StreamSource);
  }

  @Get('no-response')
  noResponse(@Res() res: { send(body: unknown): unknown }) {
    void this.sse.stream({}, async function* () {
      yield 'never';
    });
    res.send('answered');
  }

  @Get('late')
  late(@Res() res: object) {
    void this.sse.stream(res, async function* () {
      yield 'first';
      throw new Error('late');
    });
  }

  @Get('leave/teardown')
  teardown(@Res() res: object) {
    void this.sse.stream(
      res,
      () =>
        new Observable((subscriber) => {
          subscriber.next('first');
          return () => {
            throw new Error('in a teardown');
          };
        }),
    );
  }

  @Get('leave/return')
  return(@Res() res: object) {
    void this.sse.stream(res, () => ({
      [Symbol.asyncIterator]: () => {
        let isFirst = true;
        return {
          next: async () => {
            if (!isFirst) {
              await new Promise(() => {});
            }
            isFirst = false;
            return { done: false, value: 'first' };
          },
          return: () => {
            throw new Error('in return()');
          },
        };
      },
    }));
  }

  @Get('leave/cancel')
  cancel(@Res() res: object) {
    void this.sse.stream(
      res,
      () =>
        new ReadableStream({
          start: (controller) => controller.enqueue('first'),
          cancel: () => {
            throw new Error('in cancel()');
          },
        }),
    );
  }

  @Get('leave/abort')
  abort(@Res() res: object) {
    void this.sse.stream(res, async function* ({ signal }) {
      yield 'first';
      await whenAborted(signal);
      throw new Error('aborted, as asked');
    });
  }

  @Get('leave/readable')
  readable(@Res() res: object) {
    void this.sse.stream(res, ({ signal }) => {
      const readable = new Readable({ objectMode: true, read: () => undefined, signal });
      readable.push('first');
      return readable;
    });
  }

  // The signal destroys the Readable before a listener for its error could be added.
  @Get('leave/late-readable')
  lateReadable(@Res() res: object) {
    this.sse.connect(res).send('first');
    void this.sse.stream(res, async ({ signal }) => {
      await whenAborted(signal);
      return new Readable({ objectMode: true, read: () => undefined, signal });
    });
  }

  @Get('alive')
  alive() {
    return 'alive';
  }
}

@Module({ imports: [SseModule.forRoot()], controllers: [ProcessController] })
class AppModule {}

process.on('unhandledRejection', (error) => console.log('unhandledRejection', error));
process.on('uncaughtException', (error) => console.log('uncaughtException', error));

const app = await NestFactory.create(
  AppModule,
  (process.argv[2] === 'Express'
    ? new ExpressAdapter()
    : new FastifyAdapter()) as unknown as AbstractHttpAdapter,
  { logger: false },
);
await app.listen(0, '127.0.0.1');
const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
console.log(`listening on ${port}`);
