/** The least that a log on JetStream can cost in Node: publish and an ordered consumer, by the library alone. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { delayOf, remotePublishing } from './publishing.js';
import type { EventData } from './publishing.js';
import { serve } from './serve.js';

interface Config {
  servers: string;
  /** Names the stream, which is made if there is none. */
  log: string;
  /** Whether it reads the stream, as each instance of an app does. */
  isReading?: boolean;
}

const { servers, log, isReading } = JSON.parse(process.argv[2]!) as Config;
const connection = await connect({ servers, noAsyncTraces: true });
const manager = await jetstreamManager(connection);
const stream = jetstream(connection);
const subject = `${log}.a`;
await manager.streams.add({ name: log, subjects: [subject], max_msgs: 100_000 });
const clients = new Set<ServerResponse>();
const delays: number[] = [];

const server = createServer((_, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.write('retry: 3000\n\n');
  clients.add(res);
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
if (isReading) {
  const consumer = await stream.consumers.get(log);
  await consumer.consume({ callback: ({ data, seq }) => take(Buffer.from(data).toString(), seq) });
}

serve({
  port: (server.address() as { port: number }).port,
  openStreams: () => clients.size,
  ...remotePublishing((data) => stream.publish(subject, JSON.stringify(data))),
  takeDelays: () => delays.splice(0),
  close: () => process.exit(),
});

function take(data: string, id: number): void {
  delays.push(delayOf(JSON.parse(data) as EventData));
  for (const res of clients) {
    res.write(`id: ${id}\ndata: ${data}\n\n`);
  }
}
