import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import * as fc from 'fast-check';
import { SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { codePoint } from '../../support/code-point.js';
import { Limits } from '../../../lib/limits/index.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createAttacked, Lines } from './attack-app.js';

/** An answer for which the client is to blame, or that it asked for. */
const HARMLESS = [200, 201, 204, 400, 401, 403, 404, 410, 413, 414, 429, 431];
/** What a client would like to see as a line of its own. */
const INJECTED = ['\r\ndata: injected', '\ndata: injected\n\n', '\r\nX-Injected: 1\r\n\r\n'];

/** What has broken servers of event streams, and of other things. Each stays here for good. */
const CORPUS = [
  ...INJECTED,
  '',
  ' ',
  '0',
  '-1',
  '.',
  '..',
  '>',
  '*',
  '>.>',
  'a..b',
  'a.>.b',
  '__proto__',
  'constructor',
  'toString',
  'undefined',
  'null',
  '[object Object]',
  '\u0000',
  '\ufeff',
  '\u2028data: injected',
  '\ud800',
  '0'.repeat(5_000),
  'a.'.repeat(2_000),
  'ffffffffffffffff-9007199254740993-ffffffff',
  '0000000000000000-0-00000000',
  '0000000000000000-1e9-00000000',
  'run:x',
  'run-of:3:ada:x',
  '%',
  '%0d%0adata: injected',
  'e30.e30.e30',
];

const text = fc.oneof(
  fc.string({ unit: codePoint, maxLength: 60 }),
  fc
    .array(fc.constantFrom(...INJECTED, '.', '>', '*', '-', '1', 'a', '%0a', ':', '\0'), { maxLength: 12 })
    .map((parts) => parts.join('')),
);
// Bytes that Node's parser takes in the value of a header.
const headerSafe = (value: string) =>
  Buffer.from(value, 'utf8')
    .toString('latin1')
    .replaceAll(/[\0-\x08\n-\x1f\x7f]/g, '')
    .slice(0, 8_000);
const inUrl = (value: string) => encodeURIComponent(value.toWellFormed());
const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

/** The requests that carry a text, one for each input. */
const INPUTS: Record<string, (value: string) => string> = {
  'Last-Event-ID of topics': (value) =>
    get('/follow?pattern=orders.1', `Last-Event-ID: ${headerSafe(value)}\r\n`),
  '?lastEventId=': (value) => get(`/follow?pattern=orders.1&lastEventId=${inUrl(value)}`),
  'a query that is no query': (value) =>
    get(`/follow?pattern=a&lastEventId=${headerSafe(value).replaceAll(/[\s#]/g, '%')}`),
  'Last-Event-ID of a run': (value) => get('/runs/known', `Last-Event-ID: ${headerSafe(value)}\r\n`),
  'the id of a run in the path': (value) => get(`/runs/${inUrl(value)}`),
  'the id of a run in the body': (value) => post('/runs', JSON.stringify({ id: value })),
  'a body': (value) => post('/runs', value.toWellFormed()),
  'a pattern': (value) => get(`/follow?pattern=${inUrl(value)}`),
  'several patterns': (value) => get(`/follow?pattern=${inUrl(value)}&pattern=a`),
  '?ticket=': (value) => get(`/ticketed?ticket=${inUrl(value)}`),
  '?addedTopics=': (value) =>
    get(`/follow?pattern=a&addedTopics=${inUrl(value)}`, 'Accept: text/event-stream;announce=1\r\n'),
  Accept: (value) => get('/follow?pattern=a', `Accept: ${headerSafe(value)}\r\n`),
  'the header of a key': (value) => get('/follow?pattern=a', `X-User: ${headerSafe(value)}\r\n`),
  'a key to revoke': (value) => post('/revoke', JSON.stringify({ key: value })),
};

const sockets = new Set<Socket>();

async function connectTo(app: INestApplication): Promise<Socket> {
  const socket = connect(Number(new URL(baseOf(app)).port), '127.0.0.1');
  sockets.add(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Sends a request, and resolves with the head of the answer and what came with it. */
async function ask(app: INestApplication, request: string): Promise<string> {
  const socket = await connectTo(app);
  let received = '';
  let hasEnded = false;
  socket.setEncoding('utf8');
  socket.on('data', (part: string) => (received += part));
  socket.on('close', () => (hasEnded = true));
  socket.write(request);
  await waitFor(() => received.includes('\r\n\r\n') || hasEnded, { timeoutMs: 10_000 });
  socket.destroy();
  sockets.delete(socket);
  return received;
}

/** Waits until a client that follows a topic gets what is published now. */
async function isServed(stream: SseTestStream, app: INestApplication, topic: string): Promise<void> {
  await stream.until(({ events }) => events.length > 0);
  await app.get(SseService).publish(topic, 'for all');
  await stream.until(({ events }) => events.some(({ data }) => data === 'for all'));
}

/** The names of all numbers and texts within an object, and the texts. */
function namesOf(value: object): string[] {
  return Object.entries(value).flatMap(([name, part]: [string, unknown]) => {
    if (typeof part === 'object' && part !== null) {
      return namesOf(part).map((inner) => `${name}.${inner}`);
    }
    return typeof part === 'string' ? `${name}=${part}` : name;
  });
}

const closeSockets = () => {
  sockets.forEach((socket) => socket.destroy());
  sockets.clear();
};

describe.each(platforms.filter(({ http2 }) => !http2))('whatever a client sends on $name', (platform) => {
  const logger = new Lines();
  let app: INestApplication;
  let metrics: string[];

  beforeAll(async () => {
    app = await createAttacked(platform, {}, logger);
    metrics = namesOf(app.get(SseService).metrics);
    expect(await ask(app, post('/runs', '{"id":"known"}'))).toMatch(/^HTTP\/1.1 200 /);
  });
  afterAll(async () => {
    closeSockets();
    await closeAll();
  });

  it.each(Object.entries(INPUTS))('as %s is answered, and injects nothing', async (_name, requestOf) => {
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const received = await ask(app, requestOf(value));
        const [head] = received.split('\r\n\r\n');
        expect(HARMLESS).toContain(Number(/^HTTP\/1.1 (\d+) /.exec(head!)?.[1]));
        expect(head).not.toMatch(/^x-injected:/im);
        expect(received).not.toMatch(/^data: injected/m);
      }),
      { numRuns: 15, examples: CORPUS.map((value) => [value]) },
    );
    expect(logger.all.filter((line) => /[\r\n\0]/.test(line))).toEqual([]);
  });

  it('leaves nothing behind, and other clients are served', async () => {
    await waitFor(() => app.get(SseService).connections.size === 0);
    await isServed(await open(app, '/follow?pattern=orders.1'), app, 'orders.1');
    expect(app.get(Limits).connections.size).toBe(0);
  });

  it('adds no name to the metrics', () => {
    expect(app.get(SseService).metrics.connections.opened).toBeGreaterThan(CORPUS.length);
    expect(namesOf(app.get(SseService).metrics)).toEqual(metrics);
  });
});

describe('a socket without a request', () => {
  afterEach(async () => {
    closeSockets();
    await closeAll();
  });

  it.each([
    [
      'that sends a body byte by byte',
      50,
      'POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{',
    ],
    ['that is half open', 50, 'GET /follow?pattern=a HTTP/1.1\r\nHost: loc'],
  ])('%s takes no place: %i of them', async (_what, count, begun) => {
    const app = await createAttacked(platforms[0]!, { maxConnections: 1 });
    const begin = async () => void (await connectTo(app)).write(begun);
    await Promise.all(Array.from({ length: count }, begin));
    await isServed(await open(app, '/follow?pattern=a'), app, 'a');
    expect(app.get(SseService).connections.size).toBe(1);
  });
});

describe('an HTTP/2 client that opens streams and resets them at once', () => {
  afterEach(closeAll);

  it('takes no place for longer than a turn, and no other client notices', async () => {
    const app = await createAttacked(
      platforms.find(({ http2 }) => http2)!,
      { maxConnections: 20 },
    );
    const stream = await open(app, '/follow?pattern=a');
    const session = connectHttp2(baseOf(app));
    session.on('error', () => undefined);
    await once(session, 'connect');
    for (let n = 0; n < 300; n += 1) {
      const request = session.request({ ':path': '/follow?pattern=a' });
      request.on('error', () => undefined);
      request.close(constants.NGHTTP2_CANCEL);
      if (n % 10 === 0) {
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
    }
    await isServed(stream, app, 'a');
    session.destroy();
    await waitFor(() => app.get(SseService).connections.size === 1);
    expect((await open(app, '/follow?pattern=a')).status).toBe(200);
  });
});
