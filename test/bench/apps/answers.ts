/**
 * An instance of an app that streams answers of a model: as runs of this package, by resumable-stream, or by
 * nothing but `for await … res.write`. The routes and the frames are alike.
 */
import 'reflect-metadata';
import { setMaxListeners } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { Controller, Get, Module, Query, Res } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { SseModule, SseService } from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { createResumableStreamContext } from 'resumable-stream/ioredis';
import { countCommands } from './commands.js';
import { answerOf } from './model.js';
import type { Answer } from './model.js';
import { serve } from './serve.js';

interface Config {
  kind: 'bare' | 'runs' | 'resumable-stream';
  /** Of Redis; without it runs have their log in memory. */
  url?: string;
  leaseMs?: number;
}

/** Where a client goes on. */
interface Place {
  /** Characters that it has. */
  skip?: number;
}

interface Answers {
  /** Makes an answer, and streams it. */
  stream(res: ServerResponse, id: string, answer: Answer): Promise<unknown>;
  /** Streams one that is made already, or was. */
  resume(res: ServerResponse, id: string, place: Place): Promise<unknown>;
  /** Makes one that nobody has asked for yet. */
  make(id: string, answer: Answer): Promise<unknown>;
}

const config = JSON.parse(process.argv[2]!) as Config;
const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'private, no-cache, no-store, no-transform',
  'X-Accel-Buffering': 'no',
};
const DONE = 'data: [DONE]\n\n';
const held = new AbortController();
setMaxListeners(0, held.signal);
const commands = countCommands();
/** What had been asked of Redis when the first byte of an answer left. */
const beforeFirst: Record<string, number>[] = [];

/** What is written where nothing else is at hand, with ids like those that a run has. */
function bare(): Answers {
  const stream = async (res: ServerResponse, _: string, answer: Answer) => {
    res.writeHead(200, HEADERS);
    let n = 0;
    for await (const chunk of answerOf(answer)) {
      n += 1;
      res.write(`id: 0123456789abcdef-${n}-01234567\ndata: ${JSON.stringify(chunk)}\n\n`);
    }
    res.end(`id: 0123456789abcdef-${n + 1}-01234567\n${DONE}`);
  };
  const never = () => Promise.reject(new Error('There is nothing to resume here.'));
  return { stream, resume: never, make: never };
}

function asRuns(sse: SseService): Answers {
  const start = (id: string, answer: Answer, orphanMs: number | undefined) =>
    sse.runs.start(id, ({ signal }) => answerOf(answer, AbortSignal.any([signal, held.signal])), {
      format: 'openai',
      ...(orphanMs === undefined ? {} : { orphanMs }),
    });
  return {
    async stream(res, id, answer) {
      await start(id, answer, undefined);
      return sse.runs.attach(res, id);
    },
    resume: (res, id) => sse.runs.attach(res, id),
    make: (id, answer) => start(id, answer, 600_000),
  };
}

/** As its README shows: what is streamed is text. */
function byResumableStream(): Answers {
  process.env['REDIS_URL'] = config.url;
  const context = createResumableStreamContext({ waitUntil: null });
  const create = (id: string, answer: Answer) =>
    context.createNewResumableStream(id, () => textOf(answerOf(answer, held.signal)));
  const write = async (res: ServerResponse, stream: ReadableStream<string> | null | undefined) => {
    if (!stream) {
      res.writeHead(204).end();
      return;
    }
    res.writeHead(200, HEADERS);
    for await (const text of stream) {
      res.write(text);
    }
    res.end();
  };
  return {
    stream: async (res, id, answer) => write(res, await create(id, answer)),
    resume: async (res, id, { skip }) => write(res, await context.resumeExistingStream(id, skip)),
    make: create,
  };
}

function textOf(chunks: AsyncGenerator<object>): ReadableStream<string> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      controller.enqueue(done ? DONE : `data: ${JSON.stringify(value)}\n\n`);
      if (done) {
        controller.close();
      }
    },
  });
}

@Controller('answers')
class AnswersController {
  @Get('new')
  async stream(@Res() res: ServerResponse, @Query('id') id: string, @Query('answer') answer: string) {
    await answers.stream(res, id, JSON.parse(answer) as Answer);
  }

  @Get('again')
  async resume(@Res() res: ServerResponse, @Query('id') id: string, @Query('skip') skip?: string) {
    const before = commands.snapshot();
    const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse;
    res.writeHead = (...args: unknown[]) => {
      beforeFirst.push(commands.since(before));
      return writeHead(...args);
    };
    await answers.resume(res, id, { skip: skip === undefined ? undefined : Number(skip) });
  }
}

const imports: DynamicModule[] = [];
if (config.kind === 'runs') {
  const { url, leaseMs } = config;
  imports.push(
    SseModule.forRoot({
      ...(url === undefined ? {} : { log: redis({ url }) }),
      ...(leaseMs === undefined ? {} : { runs: { leaseMs } }),
    }),
  );
}

@Module({ imports, controllers: [AnswersController] })
class AppModule {}

const adapter = new ExpressAdapter() as unknown as AbstractHttpAdapter;
const app = await NestFactory.create(AppModule, adapter, { logger: ['fatal'] });
const kinds = {
  bare,
  runs: () => asRuns(app.get(SseService, { strict: false })),
  'resumable-stream': byResumableStream,
};
const answers = kinds[config.kind]();
await app.listen(0, '127.0.0.1');

serve({
  port: ((app.getHttpServer() as Server).address() as { port: number }).port,
  openStreams: () => 0,
  close: () => app.close(),
  make: ({ ids, answer }: { ids: readonly string[]; answer: Answer }) =>
    Promise.all(ids.map((id) => answers.make(id, answer))).then(() => undefined),
  /** Lets answers end that are held. */
  letGo: () => held.abort(),
  /** What was asked of Redis since this was asked last, and before the first byte of each answer that was resumed. */
  commands: () => ({ counts: commands.take(), beforeFirst: beforeFirst.splice(0) }),
});
