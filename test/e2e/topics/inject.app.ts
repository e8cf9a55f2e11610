import 'reflect-metadata';
import { setImmediate as turn } from 'node:timers/promises';
import { Controller, Get, Module, Res, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import { ConnectionRegistry } from '../../../lib/connection/index.js';

/** Follows a topic under Fastify's `inject()`, which jest's own modules cannot load, and prints what came. */
@Controller()
class FollowingController {
  connection: SseConnection | undefined;

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object): void {
    this.connection = this.sse.connect(res);
    this.connection.follow('a');
  }

  @Sse('sse')
  stream(@Connection() connection: SseConnection) {
    this.connection = connection;
    return connection.follow('a');
  }
}

@Module({ imports: [SseModule.forRoot()], controllers: [FollowingController] })
class AppModule {}

const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), {
  logger: false,
});
await app.init();
await app.getHttpAdapter().getInstance().ready();
const controller = app.get(FollowingController);
const { writeCounts } = app.get(ConnectionRegistry);
const sse = app.get(SseService);

const answering = app.inject(process.argv[2]!);
// The cursor is the first thing that a follower is written.
while (writeCounts.direct + writeCounts.throughResponse === 0) {
  await turn();
}
await sse.publish('a', 'alone: é');
await turn();
await Promise.all([1, 2, 3].map((n) => sse.publish('a', { type: 'burst', data: n })));
while (writeCounts.direct + writeCounts.throughResponse < 3) {
  await turn();
}
controller.connection!.close();
const { payload } = await answering;
await app.close();
process.stdout.write(JSON.stringify({ payload, ...writeCounts }));
