/** An instance of an app that publishes numbers, and tells what the log has of them. */
import 'reflect-metadata';
import { Controller, Get, Inject, Module, Post, Query, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { lastValueFrom, map, toArray } from 'rxjs';

const [url, port] = process.argv.slice(2) as [string, string];

@Controller()
class NumbersController {
  // By name: the bundler that makes one file of this app keeps no types.
  constructor(@Inject(SseService) private readonly sse: SseService) {}

  @Get('page')
  page() {
    return '<!doctype html><title>numbers</title><link rel="icon" href="data:,">';
  }

  @Get('events')
  events(@Res() res: object) {
    this.sse.connect(res).follow('numbers');
  }

  /** All numbers up to the log's head of this moment, and that place. */
  @Get('state')
  async state() {
    const at = await this.sse.position();
    const numbers = this.sse.events('numbers', { from: 'earliest', to: at });
    const data = await lastValueFrom(
      numbers.pipe(
        map(({ event }) => event.data),
        toArray(),
      ),
    );
    return { data, at };
  }

  @Post('publish')
  async publish(@Query('n') n: string) {
    return { position: await this.sse.publish('numbers', { data: Number(n) }) };
  }
}

@Module({
  imports: [SseModule.forRoot({ log: redis({ url, prefix: 'numbers' }), heartbeatMs: 500, retryMs: 100 })],
  controllers: [NumbersController],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error'], forceCloseConnections: true });
app.enableShutdownHooks();
await app.listen(Number(port), '127.0.0.1');
console.log(`listening on ${port}`);
