import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { EventSource } from 'eventsource';
import { SseModule, SseService } from 'nestjs-event-stream';
import { SseClient } from 'nestjs-event-stream/client';
import { EventSource as UndiciEventSource, fetch as undiciFetch } from 'undici';
import { Random } from '../../support/random.js';
import { closeAll, platforms } from '../../support/apps/platforms.js';

const EVENTS = 40;
const dataOf = (n: number) => ({ n, text: `${n} 订单 `.repeat((n * 37) % 400) });
const ALL = Array.from({ length: EVENTS }, (_, n) => JSON.stringify(dataOf(n)));

@Controller()
class OrdersController {
  #clients = 0;

  constructor(private readonly sse: SseService) {}

  /** The events of a topic of each client from the first one on: some are caught up with, some are live. */
  @Get('orders')
  async orders(@Res() res: object) {
    const connection = this.sse.connect(res);
    this.#clients += 1;
    const topic = `orders.${this.#clients}`;
    for (let n = 0; n < EVENTS; n += 1) {
      if (n === EVENTS / 4) {
        connection.follow(topic, { from: 'earliest' });
      }
      await this.sse.publish(topic, dataOf(n));
    }
  }
}

/** Passes a server's bytes on in pieces of random lengths, so that blocks are cut anywhere. */
async function cutter(port: number): Promise<Server> {
  const random = new Random(7);
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.setNoDelay(true).pipe(upstream);
    upstream.on('data', (bytes) => {
      for (let at = 0; at < bytes.length;) {
        const length = random.between(1, 60);
        client.write(bytes.subarray(at, at + length));
        at += length;
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
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

describe.each(['events', 'stream'] as const)('a client of %s, cut anywhere', (compression) => {
  let app: INestApplication;
  let server: Server;
  let url: string;

  beforeAll(async () => {
    app = await platforms[0]!.create({
      imports: [SseModule.forRoot({ compression })],
      controllers: [OrdersController],
    });
    const { port } = (app.getHttpServer() as { address(): AddressInfo }).address();
    server = await cutter(port);
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`;
  });
  afterAll(async () => {
    server.close();
    await closeAll();
  });

  it.each([
    [
      'fetch of Node',
      async () => {
        const response = await fetch(url);
        expect(response.headers.get('content-encoding')).toBe('gzip');
        return readAll(response.body as unknown as AsyncIterable<Uint8Array>);
      },
    ],
    ['fetch of undici', async () => readAll((await undiciFetch(url)).body!)],
    [
      'EventSource of undici',
      () =>
        received((onData) => {
          const source = new UndiciEventSource(url);
          source.addEventListener('message', ({ data }) => onData(String(data)));
          return source;
        }),
    ],
    [
      'the package eventsource',
      () =>
        received((onData) => {
          const source = new EventSource(url);
          source.addEventListener('message', ({ data }) => onData(String(data)));
          return source;
        }),
    ],
    [
      'our own client',
      () =>
        received((onData) => {
          const feed = new SseClient().follow(url);
          feed.on('message', (data) => onData(JSON.stringify(data)));
          return feed;
        }),
    ],
    [
      'curl',
      async () => {
        const curl = spawn('curl', ['-sN', '--compressed', url]);
        const left = once(curl, 'close');
        const data = await readAll(curl.stdout);
        curl.kill();
        await left;
        return data;
      },
    ],
  ])('is %s', async (_name, read) => {
    expect(await read()).toEqual(ALL);
  });
});
