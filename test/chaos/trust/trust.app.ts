/**
 * A process with an instance on each of the engines that its argument names. It prints the ports of all, and each time
 * in which nothing of it ran.
 */
import 'reflect-metadata';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { printWarnings } from '../complaints.js';
import type { Engine } from '../engine.js';
import { printWhatIsOpen } from '../still-open.js';
import { watchStalls } from './stalls.js';
import { trustModule } from './trust-app.js';

const engines = JSON.parse(process.argv[2]!) as Engine[];
printWarnings(process);
watchStalls((stall) => console.log(`stalled ${JSON.stringify(stall)}`));
const starting = engines.map(async (engine) => {
  const app = await NestFactory.create(trustModule(engine), { logger: ['error'] });
  await app.listen(0, '127.0.0.1');
  return app;
});
const apps = await Promise.all(starting);
const ports = apps.map((app) => ((app.getHttpServer() as Server).address() as AddressInfo).port);
console.log(`ports ${JSON.stringify(ports)}\nlistening on ${ports[0]}`);
printWhatIsOpen(process);
process.once('SIGTERM', () => {
  void Promise.all(apps.map((app) => app.close())).then(() => console.log('closed'));
});
