/** An app for tests of a whole process: its end, its memory, its uncaught errors. */
import 'reflect-metadata';
import type { Server } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Controller, Get, Module, Query, Res, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason } from 'nestjs-event-stream';
import { startWith, Subject } from 'rxjs';

/** Events that are sent while a client does not read. */
const EVENTS = 100_000;
const EVENT_BYTES = 1_000;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const uncaught: string[] = [];

@Controller()
class HubController {
  readonly #events = new Subject<string>();
  readonly #reasons: CloseReason[] = [];
  /** Connections of the clients that read. */
  readonly #readers: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object, @Query('reads') reads?: string) {
    const connection = this.sse.connect(res);
    const subscription = this.#events.subscribe((event) => connection.send(event));
    void connection.closed.then(() => subscription.unsubscribe());
    this.#note(connection, reads);
    connection.send('hello');
  }

  @Sse('sse')
  stream(@Connection() connection: SseConnection, @Query('reads') reads?: string) {
    this.#note(connection, reads);
    return this.#events.pipe(startWith('hello'));
  }

  /** A stream whose listener throws. */
  @Get('careless')
  careless(@Res() res: object, @Query('listener') listener: string) {
    const connection = this.sse.connect(res);
    if (listener === 'signal') {
      connection.signal.addEventListener('abort', () => {
        throw new Error('signal');
      });
    } else {
      void connection.closed.then(() => {
        throw new Error('closed');
      });
    }
    this.#note(connection);
    connection.send('hello');
  }

  @Get('state')
  state() {
    return { open: this.sse.connections.size, reasons: this.#reasons, uncaught };
  }

  /** Sends all clients an event. */
  @Get('say')
  say() {
    this.#events.next('said');
    return {};
  }

  /** What the process holds. */
  @Get('holds')
  async holds() {
    const server = app.getHttpServer() as Server;
    const sockets = await new Promise<number>((resolve) => {
      server.getConnections((_error, count) => resolve(count));
    });
    return { sockets, heap: heapBytes(), rss: process.memoryUsage.rss() };
  }

  /** Sends the events as fast as the reading clients take them. Returns how much the heap grew meanwhile. */
  @Get('send-all')
  async sendAll() {
    const before = heapBytes();
    let grown = 0;
    const padding = 'x'.repeat(EVENT_BYTES);
    for (let n = 0; n < EVENTS; n += 1) {
      this.#events.next(`${n} ${padding}`.slice(0, EVENT_BYTES));
      if (n % 20 === 0) {
        await Promise.all(this.#readers.map((reader) => reader.drained()));
      }
      if (n % 20_000 === 0) {
        grown = Math.max(grown, heapBytes() - before);
      }
    }
    return { ...this.state(), grown };
  }

  /** Ends the process as a deploy does. */
  @Get('terminate')
  terminate() {
    process.kill(process.pid, 'SIGTERM');
  }

  #note(connection: SseConnection, reads?: string) {
    if (reads) {
      this.#readers.push(connection);
    }
    void connection.closed.then((reason) => this.#reasons.push(reason));
  }
}

function heapBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

@Module({ imports: [SseModule.forRoot()], controllers: [HubController] })
class AppModule {}

// Without a listener, an uncaught error ends the process: that is for Node to decide.
process.on('uncaughtException', (error) => uncaught.push(error.message));

const name = process.argv[2]!;
const adapter = name === 'Express' ? new ExpressAdapter() : fastify(name.endsWith('HTTP/2'));
const app = await NestFactory.create(AppModule, adapter as AbstractHttpAdapter, {
  logger: ['error', 'warn'],
});
app.enableShutdownHooks();
// Node closes a socket whose headers are not complete after a minute, which is not enough for a busy machine.
(app.getHttpServer() as Partial<Server>).headersTimeout = 600_000;
await app.listen(0, '127.0.0.1');
console.log(`listening on ${(app.getHttpServer() as { address(): { port: number } }).address().port}`);

function fastify(http2: boolean): unknown {
  return new FastifyAdapter(http2 ? { http2 } : {});
}
