/** The clients of a process that passes on what it reads from an engine, by Node alone. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { delayOf } from './publishing.js';
import type { EventData } from './publishing.js';

export async function openBareStreams() {
  const clients = new Set<ServerResponse>();
  const delays: number[] = [];
  const server = createServer((_, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    res.write('retry: 3000\n\n');
    clients.add(res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    openStreams: () => clients.size,
    /** Returns how long each event since the last call took, in microseconds. */
    takeDelays: () => delays.splice(0),
    /** Writes an event to all clients. */
    take: (data: string, id: string | number) => {
      delays.push(delayOf(JSON.parse(data) as EventData));
      for (const res of clients) {
        res.write(`id: ${id}\ndata: ${data}\n\n`);
      }
    },
  };
}
