/** better-sse, on bare node:http, with its defaults. */
import { createServer } from 'node:http';
import { createChannel, createSession } from 'better-sse';
import { publishing, topicsOf } from './publishing.js';
import type { Topics } from './publishing.js';
import { serve } from './serve.js';

const config = JSON.parse(process.argv[2]!) as Topics;
const channels = Array.from({ length: config.topics }, () => createChannel());
let open = 0;

const server = createServer((req, res) => {
  const client = Number(new URL(req.url!, 'http://localhost').searchParams.get('client'));
  void createSession(req, res).then((session) => {
    topicsOf(client, config).forEach((topic) => channels[topic]!.register(session));
    open += 1;
    res.on('close', () => (open -= 1));
  });
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  serve({
    port,
    openStreams: () => open,
    publish: publishing(config, (data, topic) => {
      channels[topic]!.broadcast(data);
    }),
    close: () => new Promise((resolve) => server.close(resolve)),
  });
});
