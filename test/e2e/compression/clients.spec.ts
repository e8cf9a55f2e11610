import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Param, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { EventSource } from 'eventsource';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SseClient } from 'nestjs-event-stream/client';
import { EventSource as UndiciEventSource, fetch as undiciFetch } from 'undici';
import { Random } from '../../support/random.js';
import { numberedData } from '../../support/apps/numbered-events.js';
import { closeAll, platforms } from '../../support/apps/platforms.js';

const EVENTS = 40;
const ALL = Array.from({ length: EVENTS }, (_, n) => JSON.stringify(numberedData(n)));
// Longer than the head of an answer.
const HEAD_BYTES = 600;

@Controller()
class OrdersController {
  readonly #published = new Set<string>();

  constructor(private readonly sse: SseService) {}

  /** The events of a topic from the first one on: some are caught up with, some are live. */
  @Get('orders/:topic')
  async orders(@Param('topic') topic: string, @Res() res: object) {
    const connection = this.sse.connect(res);
    if (this.#published.has(topic)) {
      connection.follow(topic, { from: 'earliest' });
      return;
    }
    this.#published.add(topic);
    for (let n = 0; n < EVENTS; n += 1) {
      if (n === EVENTS / 4) {
        connection.follow(topic, { from: 'earliest' });
      }
      await this.sse.publish(topic, numberedData(n));
    }
  }
}

/** A server in front of another one. */
interface Cutter {
  readonly server: Server;
  /** How many of the next answers to `/orders/cut-…` are cut, each after a random number of bytes. */
  cutsLeft: number;
}

/** Passes a server's bytes on in pieces of random lengths, so that blocks are cut anywhere. */
async function startCutter(port: number): Promise<Cutter> {
  const random = new Random(7);
  const server = createServer((client) => {
    let left = Infinity;
    client.on('data', (request) => {
      if (request.includes('/cut-') && cutter.cutsLeft > 0) {
        cutter.cutsLeft -= 1;
        left = HEAD_BYTES + random.between(0, 1_500);
      }
    });
    const upstream = connect(port, '127.0.0.1');
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroySoon());
    client.setNoDelay(true).pipe(upstream);
    upstream.on('data', (bytes) => {
      const passed = bytes.subarray(0, left);
      left -= passed.length;
      for (let at = 0; at < passed.length;) {
        const length = random.between(1, 60);
        client.write(passed.subarray(at, at + length));
        at += length;
      }
      if (left === 0 && passed.length > 0) {
        // A little later: Node's fetch drops what it has not decoded before the cut.
        setTimeout(() => upstream.destroy(), 10);
      }
    });
  });
  const cutter: Cutter = { server, cutsLeft: 0 };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return cutter;
}

/** Reads the data of a body as text comes, until all events are there. */
async function readAll(body: AsyncIterable<Uint8Array>): Promise<string[]> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    const data = dataIn(text);
    if (data.length === EVENTS) {
      return data;
    }
  }
  return dataIn(text);
}

// A line that has ended: of the last one a part may be there.
const dataIn = (text: string) => [...text.matchAll(/^data: (\{"n".*)\n/gm)].map(([, data]) => data!);

/** Collects messages until all are there. */
const received = (subscribe: (onData: (data: string) => void) => { close(): void }) =>
  new Promise<string[]>((resolve) => {
    const data: string[] = [];
    const source = subscribe((each) => {
      data.push(each);
      if (data.length === EVENTS) {
        source.close();
        resolve([...data]);
      }
    });
  });

/** Clients that come back by themselves, from the last event that they have. */
const returning: [string, (url: string) => Promise<string[]>][] = [
  [
    'EventSource of undici',
    (url) =>
      received((onData) => {
        const source = new UndiciEventSource(url, { node: { reconnectionTime: 10 } });
        source.addEventListener('message', ({ data }) => onData(String(data)));
        return source;
      }),
  ],
  [
    'the package eventsource',
    (url) =>
      received((onData) => {
        const source = new EventSource(url);
        source.addEventListener('message', ({ data }) => onData(String(data)));
        return source;
      }),
  ],
  [
    'our own client',
    (url) =>
      received((onData) => {
        const feed = new SseClient({ retry: { minMs: 10 } }).follow(url);
        feed.on('message', (data) => onData(JSON.stringify(data)));
        return feed;
      }),
  ],
];

const others: typeof returning = [
  [
    'fetch of Node',
    async (url) => {
      const response = await fetch(url);
      expect(response.headers.get('content-encoding')).toBe('gzip');
      return readAll(response.body as unknown as AsyncIterable<Uint8Array>);
    },
  ],
  ['fetch of undici', async (url) => readAll((await undiciFetch(url)).body!)],
  [
    'curl',
    async (url) => {
      const curl = spawn('curl', ['-sN', '--compressed', url]);
      const left = once(curl, 'close');
      const data = await readAll(curl.stdout);
      curl.kill();
      await left;
      return data;
    },
  ],
];

describe.each(['events', 'stream'] as const)('a client of %s', (compression) => {
  let app: INestApplication;
  let cutter: Cutter;
  let url: string;

  beforeAll(async () => {
    app = await platforms[0]!.create({
      imports: [SseModule.forRoot({ compression, retryMs: 10 })],
      controllers: [OrdersController],
    });
    cutter = await startCutter((app.getHttpServer() as { address(): AddressInfo }).address().port);
    url = `http://127.0.0.1:${(cutter.server.address() as AddressInfo).port}/orders`;
  });
  afterAll(async () => {
    cutter.server.close();
    await closeAll();
  });

  it.each([...others, ...returning])('has each event, in pieces of any length: %s', async (name, read) => {
    expect(await read(`${url}/${name.replaceAll(' ', '-')}`)).toEqual(ALL);
  });

  it.each(returning)('has each event once, over cuts at random bytes: %s', async (name, read) => {
    cutter.cutsLeft = 4;
    expect(await read(`${url}/cut-${name.replaceAll(' ', '-')}`)).toEqual(ALL);
    expect(cutter.cutsLeft).toBe(0);
  });
});
