import 'reflect-metadata';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Post, Req, RequestMethod, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { closeOn } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { interval, map, Observable, startWith } from 'rxjs';

type Given = Parameters<typeof closeOn>[0];
interface Wrapper {
  raw?: http.ServerResponse;
}

/** The streams that were subscribed to, completed, and not yet torn down. */
const seen = { subscribed: 0, completed: 0, running: 0 };

/** Counts, for as long as closeOn lets it; nothing else ends it. */
function ticks(given: Given): Observable<{ data: string }> {
  const events = interval(10).pipe(
    startWith(-1),
    map((n) => ({ data: `tick ${n}` })),
  );
  new Observable((subscriber) => {
    seen.subscribed++;
    seen.running++;
    const subscription = events.subscribe(subscriber);
    return () => {
      seen.running--;
      subscription.unsubscribe();
    };
  })
    .pipe(closeOn(given))
    .subscribe({ complete: () => seen.completed++ });
  return events.pipe(closeOn(given));
}

function write(given: Given, response: http.ServerResponse & Wrapper): void {
  const raw = response.raw ?? response;
  raw.writeHead(200, { 'content-type': 'text/event-stream' });
  ticks(given).subscribe({
    next: ({ data }) => raw.write(`data: ${data}\n\n`),
    complete: () => raw.end(),
  });
}

@Controller()
class TicksController {
  @Sse('sse-get')
  sseGet(@Req() req: Given) {
    return ticks(req);
  }

  @Sse('sse-post', { method: RequestMethod.POST })
  ssePost(@Req() req: Given) {
    return ticks(req);
  }

  @Get('get-by-request')
  @Header('x-test', 'kept')
  getByRequest(@Req() req: Given, @Res() res: http.ServerResponse) {
    write(req, res);
  }

  @Get('get-by-response')
  getByResponse(@Res() res: http.ServerResponse) {
    write(res, res);
  }

  @Post('post-by-request')
  postByRequest(@Req() req: Given, @Res() res: http.ServerResponse) {
    write(req, res);
  }

  @Post('post-by-response')
  postByResponse(@Res() res: http.ServerResponse) {
    write(res, res);
  }
}

interface Client {
  received(): string;
  leave(): void;
}

async function overHttp1(port: number, method: string, path: string): Promise<Client> {
  const request = http.request({
    port,
    method,
    path,
    headers: { 'content-type': 'application/json' },
    agent: false,
  });
  request.end(method === 'POST' ? '{"hello":"world"}' : undefined);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  // Leaving is what makes it fail; how is not looked at here.
  response
    .setEncoding('utf8')
    .on('data', (chunk: string) => (text += chunk))
    .on('error', () => undefined);
  return { received: () => text, leave: () => request.destroy() };
}

async function overHttp2(port: number, method: string, path: string): Promise<Client> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':method': method, ':path': path, 'content-type': 'application/json' });
  stream.end(method === 'POST' ? '{"hello":"world"}' : undefined);
  await once(stream, 'response');
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return { received: () => text, leave: () => session.destroy() };
}

const until = (condition: () => boolean, what: string) =>
  waitFor(condition, { timeoutMs: 20_000, describe: what });

describe.each([
  ['Express', () => new ExpressAdapter(), overHttp1],
  ['Fastify', () => new FastifyAdapter(), overHttp1],
  ['Fastify on HTTP/2', () => new FastifyAdapter({ http2: true }), overHttp2],
] as const)('closeOn in an app without the module, on %s', (_, adapter, open) => {
  let app: INestApplication;
  let port: number;

  beforeEach(async () => {
    Object.assign(seen, { subscribed: 0, completed: 0, running: 0 });
    const module = await Test.createTestingModule({ controllers: [TicksController] }).compile();
    app = module.createNestApplication(adapter(), { logger: false });
    await app.listen(0, '127.0.0.1');
    port = (app.getHttpServer().address() as AddressInfo).port;
  });

  afterEach(() => app.close());

  it.each([
    ['GET', '/sse-get'],
    ['POST', '/sse-post'],
    ['GET', '/get-by-request'],
    ['GET', '/get-by-response'],
    ['POST', '/post-by-request'],
    ['POST', '/post-by-response'],
  ])('lets %s %s stream, and completes when its client leaves', async (method, path) => {
    const client = await open(port, method, path);
    await until(() => client.received().includes('data: tick 5\n'), 'the client received its seventh event');
    expect(seen).toEqual({ subscribed: 1, completed: 0, running: 1 });

    client.leave();

    await until(() => seen.completed === 1, 'the stream completed');
    expect(seen.running).toBe(0);
  });
});
