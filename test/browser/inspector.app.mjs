/** An app with an inspector, on the built package: `node inspector.app.mjs`. It has clients of users, and runs. */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SseInspectorModule } from 'nestjs-event-stream/inspector';

const queryOf = ({ url }) => new URL(url, 'http://app').searchParams;

class AppModule {}
const module = {
  module: AppModule,
  imports: [
    SseModule.forRoot({
      keyOf: (request) => queryOf(request).get('user') ?? undefined,
      limits: { connectionsPerKey: Infinity, connectsPerKeyPerMinute: Infinity },
    }),
    SseInspectorModule.forRoot({ path: 'internal/sse', guards: [{ canActivate: () => true }] }),
  ],
};

const app = await NestFactory.create(module, { logger: ['error', 'warn'] });
const sse = app.get(SseService);
app.use('/follow', (req, res) => sse.connect(res).follow(queryOf(req).get('topic')));
app.use('/run', (req, res) => void runOf(queryOf(req).get('user'), res));
await app.listen(0, '127.0.0.1');
console.log(`listening on ${app.getHttpServer().address().port}`);

async function runOf(owner, res) {
  await sse.runs.of(owner).start('an answer', async function* ({ signal }) {
    yield 'begun';
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  });
  await sse.runs.of(owner).attach(res, 'an answer');
}
