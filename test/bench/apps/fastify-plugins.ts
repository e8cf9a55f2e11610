/** Fastify's plugins for event streams. Neither knows of many clients: one sends to each. */
import fastifySse from '@fastify/sse';
import type { SSEReplyInterface } from '@fastify/sse';
import fastify from 'fastify';
import { FastifySSEPlugin } from 'fastify-sse-v2';
import type { EventMessage } from 'fastify-sse-v2';
import { publishing, topicsOf } from './publishing.js';
import type { Topics } from './publishing.js';
import { serve } from './serve.js';

interface Config extends Topics {
  plugin: '@fastify/sse' | 'fastify-sse-v2';
}

type Send = (data: object) => unknown;

const config = JSON.parse(process.argv[2]!) as Config;
const followers = Array.from({ length: config.topics }, () => new Set<Send>());
let open = 0;
let last: { data?: object; text: string } = { text: '' };
const app = fastify();

if (config.plugin === '@fastify/sse') {
  await app.register(fastifySse);
  app.get('/', { sse: true }, async (request, reply) => {
    // Both plugins declare reply.sse, each in its own way.
    const { sse } = reply as unknown as { sse: SSEReplyInterface };
    sse.keepAlive();
    sse.sendHeaders();
    // They would wait for the first event.
    reply.raw.flushHeaders();
    follow(request, (data) => sse.send({ data }));
  });
} else {
  await app.register(FastifySSEPlugin);
  app.get('/', (request, reply) => {
    const send = reply as unknown as { sse: (event: EventMessage) => void };
    send.sse({ comment: '' });
    follow(request, (data) => send.sse({ data: textOf(data) }));
  });
}

await app.listen({ port: 0, host: '127.0.0.1' });
const { port } = app.server.address() as { port: number };
serve({
  port,
  openStreams: () => open,
  publish: publishing(config, (data, topic) =>
    Promise.all(Array.from(followers[topic]!, (send) => send(data))),
  ),
  close: () => app.close(),
});

function follow({ query, raw }: { query: unknown; raw: { socket: NodeJS.EventEmitter } }, send: Send): void {
  const { client } = query as { client?: string };
  const followed = topicsOf(Number(client), config).map((topic) => followers[topic]!);
  followed.forEach((set) => set.add(send));
  open += 1;
  raw.socket.once('close', () => {
    followed.forEach((set) => set.delete(send));
    open -= 1;
  });
}

/** One of the plugins takes text alone: made once for all clients, as whoever writes this would. */
function textOf(data: object): string {
  if (last.data !== data) {
    last = { data, text: JSON.stringify(data) };
  }
  return last.text;
}
