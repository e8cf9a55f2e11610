/** An instance of an app that publishes numbers through Redis, or has them: with this package, or as others do. */
import 'reflect-metadata';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import { Controller, Get, Module, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { Redis } from 'ioredis';
import { SseModule, SseService } from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { Server as SocketIo } from 'socket.io';
import { serve } from './serve.js';

interface Config {
  kind: 'ours' | 'socket.io' | 'pub/sub';
  /** Of Redis, or of what stands between. */
  port: number;
  /** Events that the log keeps, where there is one. */
  maxEvents: number;
}

/** What was published, and when, in milliseconds since 1970. */
interface Published {
  n: number;
  at: number;
  /** Whether whoever published it was told that it failed, or that it may have. */
  isRefused: boolean;
}

const config = JSON.parse(process.argv[2]!) as Config;
// Each with the defaults of its library, but for what its makers say.
const client = () => new Redis(config.port, '127.0.0.1', { protocol: 2 }).on('error', () => undefined);
const starts = { ours: startOurs, 'socket.io': startSocketIo, 'pub/sub': startPubSub };
const { server, send } = await starts[config.kind]();
const published: Published[] = [];
let timer: NodeJS.Timeout | undefined;

serve({
  port: (server.address() as { port: number }).port,
  openStreams: () => 0,
  close: () => process.exit(),
  start: ({ perSecond }: { perSecond: number }) => {
    const begin = performance.now();
    let due = 0;
    timer = setInterval(() => {
      for (; due < ((performance.now() - begin) / 1_000) * perSecond; due += 1) {
        publish();
      }
    }, 5);
  },
  burst: ({ events }: { events: number }) => {
    for (let n = 0; n < events; n += 1) {
      publish();
    }
  },
  stop: () => clearInterval(timer),
  published: () => published,
});

function publish(): void {
  const one: Published = { n: published.length, at: Date.now(), isRefused: false };
  published.push(one);
  const onFailure = () => (one.isRefused = true);
  Promise.resolve(send(one.n)).catch(onFailure);
}

async function startOurs(): Promise<Started> {
  @Controller()
  class FollowController {
    constructor(private readonly sse: SseService) {}

    @Get('events')
    follow(@Res() res: object) {
      this.sse.connect(res).follow('events');
    }
  }

  const log = redis({ client: client(), maxEvents: config.maxEvents });
  @Module({ imports: [SseModule.forRoot({ log })], controllers: [FollowController] })
  class AppModule {}

  const adapter = new FastifyAdapter() as unknown as AbstractHttpAdapter;
  const app = await NestFactory.create(AppModule, adapter, { logger: false });
  await app.listen(0, '127.0.0.1');
  const sse = app.get(SseService, { strict: false });
  return { server: app.getHttpServer() as Server, send: (n) => sse.publish('events', n) };
}

async function startSocketIo(): Promise<Started> {
  const server = createServer();
  const io = new SocketIo(server, {
    adapter: createAdapter(client(), { maxLen: config.maxEvents }),
    connectionStateRecovery: {},
  });
  await listening(server);
  return { server, send: (n) => void io.emit('event', n) };
}

async function startPubSub(): Promise<Started> {
  const clients = new Set<ServerResponse>();
  const server = createServer((_, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    res.write('retry: 3000\n\n');
    clients.add(res);
    res.on('close', () => clients.delete(res));
  });
  const subscriber = client();
  subscriber.on('message', (_, text) => {
    for (const res of clients) {
      res.write(`data: ${text}\n\n`);
    }
  });
  await subscriber.subscribe('events');
  const publisher = client();
  await listening(server);
  return { server, send: (n) => publisher.publish('events', String(n)) };
}

interface Started {
  server: Server;
  send: (n: number) => unknown;
}

function listening(server: Server): Promise<unknown> {
  return new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
}
