/**
 * A process with an instance on each of the engines that its argument names. It prints the ports of all, and each time
 * in which nothing of it ran.
 */
import 'reflect-metadata';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import type { Engine } from '../engine.js';
import { watchStalls } from './stalls.js';
import { trustModule } from './trust-app.js';

const LATE_MS = 60_000;
const engines = JSON.parse(process.argv[2]!) as Engine[];
watchStalls((stall) => console.log(`stalled ${JSON.stringify(stall)}`));
const starting = engines.map(async (engine) => {
  const app = await NestFactory.create(trustModule(engine), { logger: ['error'] });
  await app.listen(0, '127.0.0.1');
  return app;
});
const apps = await Promise.all(starting);
const ports = apps.map((app) => ((app.getHttpServer() as Server).address() as AddressInfo).port);
console.log(`ports ${JSON.stringify(ports)}\nlistening on ${ports[0]}`);
// Nothing ends it but that nothing is left to do: what stays open keeps the process alive, and is seen.
process.once('SIGTERM', () => {
  apps.forEach((app, n) => void app.close().then(() => console.log(`closed ${engines[n]!.kind}`)));
  // Of a process that does not end, this is what is told.
  setTimeout(() => console.log(process.getActiveResourcesInfo().join(' ')), LATE_MS).unref();
});
