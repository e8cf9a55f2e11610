import { get } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import compression from 'compression';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';
import { closeRawClients, RawClient } from '../../support/clients/raw-client.js';
import { createTopicsApp, nothingLeft, rows } from './topics-app.js';

/** What a client has got so far, without what the protocol, or a compression, adds. */
type Received = () => string;

/** A way of the bytes from the app to a client. */
interface Way {
  readonly name: string;
  readonly on: readonly string[];
  readonly configure?: CreateOptions['configure'];
  receive(app: INestApplication, path: string): Promise<Received>;
}

async function byHttp(app: INestApplication, path: string): Promise<Received> {
  const stream = await open(app, path, { headers: { 'accept-encoding': 'gzip' } });
  expect(stream.headers['content-encoding']).toBeUndefined();
  return () => stream.raw;
}

async function byGunzip(app: INestApplication, path: string): Promise<Received> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${baseOf(app)}${path}`, { agent: false }, resolve).on('error', reject);
  });
  expect(answer.headers['content-encoding']).toBe('gzip');
  let text = '';
  answer
    .pipe(createGunzip())
    .setEncoding('utf8')
    .on('data', (more: string) => (text += more));
  return () => text;
}

async function byHttp10(app: INestApplication, path: string): Promise<Received> {
  const client = await RawClient.connect(baseOf(app));
  client.send(`GET ${path} HTTP/1.0\r\n\r\n`);
  await client.until((received) => received.includes('\r\n\r\n'));
  return () => client.received.slice(client.received.indexOf('\r\n\r\n') + 4);
}

/** Has every response of the app pass through something, on Express and on Fastify. */
const wrapping = (wrap: (res: ServerResponse) => void) => (app: INestApplication) => {
  const instance = app.getHttpAdapter().getInstance() as {
    addHook?(
      name: string,
      hook: (req: unknown, reply: { raw: ServerResponse }, done: () => void) => void,
    ): void;
  };
  if (instance.addHook) {
    instance.addHook('onRequest', (_req, reply, done) => {
      wrap(reply.raw);
      done();
    });
  } else {
    app.use((_req: unknown, res: ServerResponse, next: () => void) => {
      wrap(res);
      next();
    });
  }
};

function wrapWrite(res: ServerResponse): void {
  const { write } = res;
  res.write = (...args: unknown[]) => Reflect.apply(write, res, args) as boolean;
}

function gzip(res: ServerResponse): void {
  const { write, end } = res;
  const zip = createGzip();
  zip.on('data', (bytes) => Reflect.apply(write, res, [bytes]));
  zip.on('end', () => Reflect.apply(end, res, []));
  res.setHeader('Content-Encoding', 'gzip');
  res.write = ((chunk: Buffer | string) => {
    zip.write(chunk);
    zip.flush();
    return true;
  }) as ServerResponse['write'];
  res.end = ((chunk?: Buffer | string) => {
    zip.end(chunk);
    return res;
  }) as ServerResponse['end'];
}

const http1 = ['Express', 'Fastify'];
const plain: Way = { name: 'HTTP/1.1', on: http1, receive: byHttp };
const ways: Way[] = [
  {
    name: 'compression, which lets streams be',
    on: ['Express'],
    configure: (app) => app.use(compression()),
    receive: byHttp,
  },
  { name: 'gzip', on: http1, configure: wrapping(gzip), receive: byGunzip },
  {
    name: 'a wrapped response',
    on: http1,
    configure: wrapping(wrapWrite),
    receive: byHttp,
  },
  { name: 'HTTP/1.0', on: http1, receive: byHttp10 },
  { name: 'HTTP/2', on: ['Fastify on HTTP/2'], receive: byHttp },
];

/** Everything that a follower may be written, and how much of it went to the socket as it was. */
async function play(platform: Platform, path: string, { configure, receive }: Way) {
  const context = await createTopicsApp(platform, {}, { configure });
  const received = await receive(context.app, path);
  await waitFor(() => context.counts.new === 1);
  const [connection] = context.connections;
  await context.publish('a', 'alone: é 🙂');
  await turn();
  await Promise.all(
    Array.from({ length: 10 }, (_, n) => context.sse.publish('a', { type: 'burst', data: n })),
  );
  await turn();
  connection!.send('sent');
  connection!.comment('said\nin two lines');
  await context.publish('a', 'after it');
  for (let n = 0; n < 1_000; n += 1) {
    await context.publish('a', { n });
    await turn();
  }
  await context.publish('a', 'x'.repeat(200_000), 'last');
  await waitFor(() => /\ndata: last\nid: .*\n\n$/.test(received()), { timeoutMs: 15_000 });
  connection!.close();
  await nothingLeft(context);
  const { direct, throughResponse } = context.registry.writeCounts;
  // The epoch and the nonces are another app's.
  return { body: received().replace(/^(id: )\w+(-\d+-)\w+$/gm, '$1$2'), direct, throughResponse };
}

describe.each(rows)('the bytes of a stream through $style on $platform.name', ({ platform, path }) => {
  afterEach(async () => {
    closeRawClients();
    await closeAll();
  });

  it.each(ways.filter(({ on }) => on.includes(platform.name)))(
    'are the same through $name, past which none goes, as straight to the socket',
    async (way) => {
      const http1Platform = platforms.find(({ name }) => name === platform.name.replace(' on HTTP/2', ''))!;
      const asTheyAre = await play(http1Platform, path, plain);
      const { body, direct, throughResponse } = await play(platform, path, way);

      expect(asTheyAre.direct / (asTheyAre.direct + asTheyAre.throughResponse)).toBeGreaterThan(0.99);
      expect(direct).toBe(0);
      expect(throughResponse).toBeGreaterThan(1_000);
      expect(body).toBe(asTheyAre.body);
    },
  );
});

describe('the bytes of a stream under inject()', () => {
  afterEach(endProcesses);

  it('go through the response, whose socket goes nowhere', async () => {
    const process = await AppProcess.start(new URL('inject.app.ts', import.meta.url));
    await process.until(({ exitCode }) => exitCode === 0);
    const { payload, direct, throughResponse } = JSON.parse(process.output) as {
      payload: string;
      direct: number;
      throughResponse: number;
    };

    expect([direct, throughResponse]).toEqual([0, 3]);
    expect(payload.replace(/^id: .*$/gm, 'id')).toBe(
      [
        'retry: 3000\nevent: cursor\ndata: {}\nid',
        'data: alone: é\nid',
        ...[1, 2, 3].map((n) => `event: burst\ndata: ${n}\nid`),
        '',
      ].join('\n\n'),
    );
  });
});
