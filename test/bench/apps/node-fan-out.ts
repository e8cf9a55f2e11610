/** The least that a fan-out can cost in Node: bytes made once, written to each response. */
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { constants, createGzip } from 'node:zlib';
import type { Gzip } from 'node:zlib';
import { publishing, topicsOf } from './publishing.js';
import type { Topics } from './publishing.js';
import { serve } from './serve.js';

interface Config extends Topics {
  /**
   * `joined`: the frames of a turn leave in one `socket.write`. `gzip`: each response has a compressor, flushed after
   * each event, as middleware does it.
   */
  write: 'socket.write' | 'joined' | 'res.write' | 'gzip';
}

const config = JSON.parse(process.argv[2]!) as Config;
const followers = Array.from({ length: config.topics }, () => new Set<ServerResponse>());
const compressors = new WeakMap<ServerResponse, Gzip>();
let open = 0;
let count = 0;

const server = createServer((req, res) => {
  res.setHeader('Content-Type', 'text/event-stream').setHeader('Cache-Control', 'no-cache');
  if (config.write === 'gzip') {
    compress(res).write('retry: 3000\n');
  } else {
    res.write('retry: 3000\n');
  }
  const client = Number(new URL(req.url!, 'http://localhost').searchParams.get('client'));
  const followed = topicsOf(client, config).map((topic) => followers[topic]!);
  followed.forEach((set) => set.add(res));
  open += 1;
  res.on('close', () => {
    followed.forEach((set) => set.delete(res));
    open -= 1;
  });
});

const sends = {
  'socket.write'(frame: Buffer, topic: number) {
    const chunk = chunkOf(frame);
    for (const { socket } of followers[topic]!) {
      socket!.write(chunk);
    }
  },
  joined: joinTurns((chunk, topic) => {
    for (const { socket } of followers[topic]!) {
      socket!.write(chunk);
    }
  }),
  'res.write'(frame: Buffer, topic: number) {
    for (const res of followers[topic]!) {
      res.write(frame);
    }
  },
  gzip(frame: Buffer, topic: number) {
    for (const res of followers[topic]!) {
      compressors.get(res)!.write(frame);
    }
  },
};
const send = sends[config.write];

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  serve({
    port,
    openStreams: () => open,
    publish: publishing(config, (data, topic) => {
      count += 1;
      send(Buffer.from(`id: benchmark-${count}-00000000\ndata: ${JSON.stringify(data)}\n\n`), topic);
    }),
    close: () => new Promise((resolve) => server.close(resolve)),
  });
});

function compress(res: ServerResponse): Gzip {
  const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
  res.setHeader('Content-Encoding', 'gzip').on('close', () => gzip.destroy());
  gzip.pipe(res);
  compressors.set(res, gzip);
  return gzip;
}

function chunkOf(frame: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${frame.length.toString(16)}\r\n`), frame, Buffer.from('\r\n')]);
}

function joinTurns(write: (chunk: Buffer, topic: number) => void) {
  const turn = new Map<number, Buffer[]>();
  return (frame: Buffer, topic: number) => {
    if (turn.size === 0) {
      setImmediate(() => {
        turn.forEach((frames, topic) => write(chunkOf(Buffer.concat(frames)), topic));
        turn.clear();
      });
    }
    const frames = turn.get(topic);
    if (frames) {
      frames.push(frame);
    } else {
      turn.set(topic, [frame]);
    }
  };
}
