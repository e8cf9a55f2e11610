import 'reflect-metadata';
import awsLambdaFastify from '@fastify/aws-lambda';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SseModule, SseService } from 'nestjs-event-stream';
import { eventOf, ServerlessController, textOf } from './serverless-app.js';
import type { Answer } from './serverless-app.js';

/** Answers under Fastify's `inject()`, which jest's own modules cannot load, and prints what came. */
@Module({ imports: [SseModule.forRoot()], controllers: [ServerlessController] })
class AppModule {}

type Invoke = (method: 'GET' | 'POST', path: string) => Promise<string>;

async function ask(invokeOf: (app: NestFastifyApplication) => Invoke): Promise<Record<string, string>> {
  const warnings: string[] = [];
  const nothing = () => undefined;
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), {
    logger: { log: nothing, error: nothing, warn: (message: string) => void warnings.push(message) },
  });
  await app.init();
  const sse = app.get(SseService);
  await sse.publish('news', 'a');
  await sse.publish('news', 'b');
  const invoke = invokeOf(app);
  const codeOf = (error: { code?: string }) => String(error.code);
  const told = {
    complete: await invoke('POST', '/complete'),
    fails: await invoke('POST', '/fails').catch(codeOf),
    format: await invoke('POST', '/format'),
    follows: await invoke('GET', '/follows'),
  };
  await app.close();
  return { ...told, warnings: warnings.join('; ') };
}

// As the runtime of a function does: no socket keeps this process alive.
const alive = setInterval(() => undefined, 1_000);
const byLambda = await ask((app) => {
  const instance = app.getHttpAdapter().getInstance() as never;
  const handler = awsLambdaFastify(instance, { decorateRequest: false }) as unknown as (
    event: object,
    context: object,
  ) => Promise<Answer>;
  return async (method, path) => textOf(await handler(eventOf(method, path), {}));
});
const byInject = await ask((app) => async (method, url) => (await app.inject({ method, url })).payload);
clearInterval(alive);
process.stdout.write(`\n${JSON.stringify({ 'aws-lambda': byLambda, inject: byInject })}\n`);
