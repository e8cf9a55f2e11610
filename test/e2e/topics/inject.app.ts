import 'reflect-metadata';
import { setImmediate as turn } from 'node:timers/promises';
import { Controller, Get, Module, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { ConnectionRegistry } from '../../../lib/connection/index.js';

/**
 * Follows a topic under Fastify's `inject()`, which jest's own modules cannot load, and prints what came.
 * Nest 11 itself cannot serve an `@Sse()` route there.
 */
@Controller()
class FollowingController {
  connection: SseConnection | undefined;

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object): void {
    this.connection = this.sse.connect(res);
    this.connection.follow('a');
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

const answering = app.inject('/connect');
const hasAnswered = new AbortController();
void answering.then(() => hasAnswered.abort());
const written = async (count: number): Promise<void> => {
  while (writeCounts.direct + writeCounts.throughResponse < count && !hasAnswered.signal.aborted) {
    await turn();
  }
};
// The cursor is the first thing that a follower is written.
await written(1);
await sse.publish('a', 'alone: é');
await turn();
await Promise.all([1, 2, 3].map((n) => sse.publish('a', { type: 'burst', data: n })));
await written(3);
controller.connection?.close();
const { payload } = await answering;
await app.close();
process.stdout.write(JSON.stringify({ payload, ...writeCounts }));
