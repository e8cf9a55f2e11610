/** An instance with a member on each engine, for a test that kills it. Its arguments are the ports of the engines. */
import 'reflect-metadata';
import { Controller, Get, Module, Res } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { logOf, PRESENCE } from './presence-logs.js';
import type { EngineName } from './presence-logs.js';

@Controller()
class MemberController {
  constructor(private readonly sse: SseService) {}

  @Get()
  follow(@Res() res: object) {
    this.sse.connect(res).follow('rooms.killed', { presence: { id: 'killed' } });
  }
}

@Module({ controllers: [MemberController] })
class AppModule {}

/** Starts an app on an engine, with a member: a client of its own. */
async function start(engine: EngineName, port: number): Promise<string> {
  const imports = [SseModule.forRoot({ log: logOf(engine, port), presence: PRESENCE })];
  const module: DynamicModule = { module: AppModule, imports };
  const app = await NestFactory.create(module, { logger: ['warn', 'error'] });
  await app.listen(0, '127.0.0.1');
  const own = (app.getHttpServer() as { address(): { port: number } }).address().port;
  await fetch(`http://127.0.0.1:${own}`);
  return String(own);
}

const [redisPort, natsPort, postgresPort] = process.argv.slice(2).map(Number) as [number, number, number];
await start('Redis', redisPort);
await start('PostgreSQL', postgresPort);
console.log(`listening on ${await start('NATS', natsPort)}`);
