/** An instance of an app that shares its log with others, and does what a test asks of it. */
import 'reflect-metadata';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Body, Controller, Get, HttpCode, Module, Post, Query, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseError, SseModule, SseService } from 'nestjs-event-stream';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import type { FollowOptions } from '../../../lib/connection/index.js';
import { Topics } from '../../../lib/topics/index.js';
import { isSecret, passesFilter } from '../memory/history.js';
import type { Published } from '../memory/history.js';
import type { Wish } from '../memory/wish.js';
import { printWarnings } from '../complaints.js';
import { logOn } from '../engine.js';
import { printWhatIsOpen } from '../still-open.js';
import type { ChaosApp, InstanceState, PublishAnswer, PublishRequest } from './instance.js';

const config = JSON.parse(process.argv[2]!) as ChaosApp;
const { engine, limits } = config;
const now = Date.now.bind(Date);
let publishing = 0;
printWarnings(process);

@Controller()
class ChaosController {
  constructor(private readonly sse: SseService) {}

  @Get('follow')
  follow(@Res() res: object, @Query('wishes') wishes: string, @Query('cleared') cleared?: string) {
    const connection = this.sse.connect(res, { data: { isCleared: cleared !== undefined } });
    for (const { pattern, envelope, filter } of JSON.parse(wishes) as Wish[]) {
      const passes: FollowOptions['filter'] = ({ event }) =>
        passesFilter({ data: event.data as Published['data'] });
      connection.follow(pattern, { envelope, ...(filter && { filter: passes }) });
    }
  }

  /** Publishes all of them in one turn. */
  @Post('publish')
  @HttpCode(200)
  publish(@Body() requests: PublishRequest[]): Promise<PublishAnswer[]> {
    return Promise.all(requests.map((request) => this.#publish(request)));
  }

  @Get('state')
  state(): InstanceState {
    const { state, reason } = this.sse.health;
    return {
      health: state,
      reason,
      epoch: topics.tail.epoch,
      last: topics.tail.last,
      publishing,
      resumes: topics.counts,
      connections: registry.size,
      followers: topics.followers,
      deadlines: registry.wheel.size,
    };
  }

  /** Holds up the whole process. */
  @Get('stall')
  stall(@Query('ms') ms: string) {
    const end = performance.now() + Number(ms);
    while (performance.now() < end) {
      // Blocks the event loop.
    }
  }

  /** Sets the clock of this process. */
  @Get('clock')
  clock(@Query('ms') ms: string) {
    Date.now = () => now() + Number(ms);
  }

  async #publish({ topic, n, pad }: PublishRequest): Promise<PublishAnswer> {
    publishing += 1;
    try {
      return { position: await this.sse.publish(topic, { data: { n, pad } }) };
    } catch (error) {
      const { code, isOutcomeKnown } = error instanceof SseError ? error : {};
      return { error: code ?? String(error), isOutcomeKnown: code === 'closed' || isOutcomeKnown === true };
    } finally {
      publishing -= 1;
    }
  }
}

@Module({
  imports: [
    SseModule.forRoot({
      log: logOn(engine, limits),
      authorize: (topic, { data }) => !isSecret(topic) || (data as { isCleared: boolean }).isCleared,
      ringEvents: limits.ringEvents,
      maxReplayEvents: limits.maxReplayEvents,
      heartbeatMs: 1_000,
      // For every second client. Those that follow several patterns, or with a filter, get 'events'.
      compression: 'stream',
      retryMs: 10,
      drain: { spreadMs: 100 },
    }),
  ],
  controllers: [ChaosController],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
// What the package keeps to itself.
const topics = app.get(Topics, { strict: false });
const registry = app.get(ConnectionRegistry, { strict: false });
await app.listen(0, '127.0.0.1');
console.log(`listening on ${((app.getHttpServer() as Server).address() as AddressInfo).port}`);
printWhatIsOpen(process);
// Nothing ends it but that nothing is left to do: what stays open keeps the process alive, and is seen.
process.once('SIGTERM', () => void app.close());
