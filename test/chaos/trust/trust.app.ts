/**
 * A process with an instance on each of the engines that its argument names. It prints the ports of all, and each time
 * in which nothing of it ran.
 */
import 'reflect-metadata';
import type { Server } from 'node:http';
import { Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { printWarnings } from '../complaints.js';
import type { Engine } from '../engine.js';
import { watchStalls } from './stalls.js';
import { trustModule } from './trust-app.js';

const LATE_MS = 10_000;
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
process.once('SIGTERM', () => {
  void Promise.all(apps.map((app) => app.close())).then(() => console.log('closed'));
  // Of a process that does not end, this is what is told.
  setTimeout(() => console.log(`still open: ${openSockets().join(', ')}`), LATE_MS).unref();
});

/** The sockets that keep the process alive. Node has no public name for them. */
function openSockets(): string[] {
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): object[] };
  return handles
    .call(process)
    .flatMap((handle) =>
      handle instanceof Socket
        ? [`${handle.localPort} to ${handle.remotePort}${handle.connecting ? ', connecting' : ''}`]
        : [],
    );
}
