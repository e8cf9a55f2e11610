/** An app that runs as a worker of a cluster. */
import 'reflect-metadata';
import cluster from 'node:cluster';
import { Controller, Get, Module, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';

@Controller()
class FollowingController {
  constructor(private readonly sse: SseService) {}

  @Get()
  follow(@Res() res: object) {
    this.sse.connect(res).follow('news');
  }
}

@Module({ imports: [SseModule.forRoot()], controllers: [FollowingController] })
class AppModule {}

if (cluster.isPrimary) {
  cluster.fork();
} else {
  const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
  await app.listen(0, '127.0.0.1');
  console.log(`listening on ${(app.getHttpServer() as { address(): { port: number } }).address().port}`);
}
