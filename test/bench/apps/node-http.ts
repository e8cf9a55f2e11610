/** What memory is compared with: nothing but Node between the client and its response. */
import { createServer } from 'node:http';
import { serve } from './serve.js';

const server = createServer((_, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.write('retry: 3000\n');
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  serve({ port, openStreams: () => 0, close });
});
