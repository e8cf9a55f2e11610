import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Post, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { NEVER } from 'rxjs';
import { certificate } from '../support/servers/certificate.js';
import { frozenHttp2Client } from '../support/clients/frozen-http2-client.js';
import { Leftovers } from '../support/leftovers.js';
import { baseOf, closeAll, open } from '../support/apps/platforms.js';

/** Limit that tells a server that hangs from a busy machine. */
const PROMPT_MS = 10_000;

@Controller()
class StreamsController {
  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object) {
    this.sse.connect(res);
  }

  @Post('connect')
  connectPost(@Res() res: object) {
    this.sse.connect(res);
  }

  @Sse('sse')
  stream() {
    return NEVER;
  }
}

/** One server of HTTP/2 and HTTP/1.1 over TLS, as browsers use it without a proxy. */
describe('app.close() on Fastify over TLS', () => {
  let app: INestApplication;
  let base: string;
  let leftovers: Leftovers;

  beforeEach(async () => {
    const adapter = new FastifyAdapter({ http2: true, https: { ...certificate, allowHTTP1: true } });
    app = await NestFactory.create(
      { module: class AppModule {}, imports: [SseModule.forRoot()], controllers: [StreamsController] },
      adapter as unknown as AbstractHttpAdapter,
      { logger: false },
    );
    await app.listen(0, '127.0.0.1');
    base = baseOf(app).replace('http:', 'https:');
    leftovers = new Leftovers(app);
  });

  afterEach(closeAll);

  /** Opens streams of every kind, and checks that each sees its own kind of end. */
  async function closePromptly(): Promise<void> {
    const streams = await Promise.all(
      [true, false].flatMap((http2) =>
        [
          ['GET', '/connect', 'complete'],
          ['GET', '/sse', 'complete'],
          ['POST', '/connect', 'aborted'],
        ].map(async ([method, path, ending]) => {
          const stream = await open(base, path!, { method, http2, allowUnauthorized: true });
          return { stream, ending };
        }),
      ),
    );
    await waitFor(() => app.get(SseService).connections.size >= streams.length);
    const begin = performance.now();
    await app.close();
    expect(performance.now() - begin).toBeLessThan(PROMPT_MS);
    for (const { stream, ending } of streams) {
      expect(await stream.ended).toBe(ending);
    }
    await leftovers.none();
  }

  it('ends streams of both protocols', async () => {
    await closePromptly();
    expect(app.get(SseService).connections.size).toBe(0);
  });

  it.each([
    ['no handshake', () => connectTcp(Number(new URL(base).port), '127.0.0.1'), 'connect'],
    ['a handshake and no request', () => tls('http/1.1'), 'secureConnect'],
    ['a handshake for HTTP/2 and nothing more', () => tls('h2'), 'secureConnect'],
  ])('does not wait for a connection with %s', async (_, connect, connected) => {
    const socket = connect().resume();
    socket.on('error', () => socket.destroy());
    await once(socket, connected);
    await waitFor(() => leftovers.sockets > 0);
    await closePromptly();
    await waitFor(() => socket.destroyed);
  });

  it.each([
    ['has no stream', []],
    ['has streams', ['/connect', '/sse']],
  ])('does not wait for a client of HTTP/2 that is frozen and %s', async (_, paths) => {
    const socket = await frozenHttp2Client(base, ...paths);
    await waitFor(() => app.get(SseService).connections.size === paths.length);
    await closePromptly();
    socket.destroy();
  });

  function tls(protocol: string) {
    const { port } = new URL(base);
    return connectTls({
      host: '127.0.0.1',
      port: Number(port),
      ALPNProtocols: [protocol],
      rejectUnauthorized: false,
    });
  }
});
