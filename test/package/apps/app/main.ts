import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { describeSse } from 'nestjs-event-stream/swagger';
import * as testing from 'nestjs-event-stream/testing';
import { AppModule } from './app.module.js';

async function start(adapter: ExpressAdapter | FastifyAdapter): Promise<void> {
  const app = await NestFactory.create(AppModule, adapter, { logger: ['error', 'warn'] });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  const config = new DocumentBuilder().setOpenAPIVersion('3.2.0').build();
  const document = describeSse(SwaggerModule.createDocument(app, config));
  const url = await app.getUrl();
  console.log(JSON.stringify({ url, testing: Object.keys(testing).sort(), document }));
}

start(process.argv[2] === 'fastify' ? new FastifyAdapter() : new ExpressAdapter()).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
