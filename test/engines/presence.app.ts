/** An instance with one member, for a test that kills it. Its arguments are the engine and the port of its server. */
import 'reflect-metadata';
import { Controller, Get, Module, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { logOf, PRESENCE } from './presence-logs.js';

const [engine, port] = process.argv.slice(2) as ['Redis' | 'NATS', string];

@Controller()
class MemberController {
  constructor(private readonly sse: SseService) {}

  @Get()
  follow(@Res() res: object) {
    this.sse.connect(res).follow('rooms.killed', { presence: { id: 'killed' } });
  }
}

@Module({
  imports: [SseModule.forRoot({ log: logOf(engine, Number(port)), presence: PRESENCE })],
  controllers: [MemberController],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
await app.listen(0, '127.0.0.1');
console.log(`listening on ${(app.getHttpServer() as { address(): { port: number } }).address().port}`);
