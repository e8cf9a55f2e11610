import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { AppModule } from './app.module.js';
import { instance } from './instance.js';

const logger = new Logger('Sample');
const port = Number(process.env.PORT || 3000);
const host = process.env.HOST || '0.0.0.0';

const app = await NestFactory.create<NestExpressApplication>(AppModule, {
  // A browser opens spare connections. Node would wait for them at the end.
  forceCloseConnections: true,
  // Three that tell of each route at start are two too many.
  ...(instance && { logger: ['warn', 'error', 'fatal'] }),
});
app.useStaticAssets(fileURLToPath(new URL('../public', import.meta.url)));
// The page has no build step: what it imports is served as it was installed.
for (const name of ['uplot', 'eventsource-parser']) {
  const folder = fileURLToPath(new URL('.', import.meta.resolve(name)));
  app.useStaticAssets(folder, { prefix: `/modules/${name}` });
}
// The client, and the two folders that it imports.
const client = import.meta.resolve('nestjs-event-stream/client');
for (const name of ['client', 'wire', 'errors']) {
  const folder = fileURLToPath(new URL(`../${name}`, client));
  app.useStaticAssets(folder, {
    prefix: `/modules/nestjs-event-stream/${name}`,
  });
}
// Ctrl+C and SIGTERM then end every open stream, and tell each client when to
// come back. Without this the process just dies under them.
app.enableShutdownHooks();

try {
  await app.listen(port, host);
  const { port: actual } = new URL(await app.getUrl());
  logger.log(`Open http://localhost:${actual}`);
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') {
    throw error;
  }
  logger.error(`Port ${port} is taken. Another one: PORT=8080 npm start`);
  process.exitCode = 1;
  await app.close();
}
