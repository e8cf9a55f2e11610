import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import * as testing from 'nestjs-event-stream/testing';
import { AppModule } from './app.module.js';

async function start(adapter: ExpressAdapter | FastifyAdapter): Promise<void> {
  const app = await NestFactory.create(AppModule, adapter, { logger: ['error', 'warn'] });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  console.log(JSON.stringify({ url: await app.getUrl(), testing: Object.keys(testing).sort() }));
}

start(process.argv[2] === 'fastify' ? new FastifyAdapter() : new ExpressAdapter()).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
