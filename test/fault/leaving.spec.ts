import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Subject } from 'rxjs';
import { Crowd } from '../support/clients/crowd.js';
import { Leftovers } from '../support/leftovers.js';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';
import { closeRawClients, RawClient } from '../support/clients/raw-client.js';

const styles = ['connect', 'sse'] as const;

interface RawResponse {
  readonly writableLength: number;
}

@Controller()
class HubController {
  readonly events = new Subject<string>();
  readonly reasons: CloseReason[] = [];
  readonly connected: { connection: SseConnection; raw: RawResponse }[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: RawResponse & { raw?: RawResponse }) {
    const connection = this.sse.connect(res);
    const subscription = this.events.subscribe((event) => connection.send(event));
    this.connected.push({ connection, raw: res.raw ?? res });
    void connection.closed.then((reason) => {
      subscription.unsubscribe();
      this.reasons.push(reason);
    });
  }

  @Sse('sse')
  stream() {
    return this.events;
  }
}

async function start(platform: Platform, options: SseModuleOptions = {}) {
  const app: INestApplication = await platform.create({
    imports: [SseModule.forRoot(options)],
    controllers: [HubController],
  });
  return {
    app,
    base: baseOf(app),
    hub: app.get(HubController),
    leftovers: new Leftovers(app),
    openStreams: app.get(SseService).connections,
  };
}

/** Paths of as many streams, of both styles in turn. */
function pathsOf(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `/${styles[n % styles.length]}`);
}

afterEach(async () => {
  closeRawClients();
  await closeAll();
});

describe.each(platforms)('on $name, a client that', (platform) => {
  it.each(styles)('resets in the middle of a frame leaves nothing behind (%s)', async (style) => {
    const { app, hub, leftovers, openStreams } = await start(platform, { maxEventBytes: 32_000_000 });
    const bystander = await open(app, `/${style}`);
    const leaving = await open(app, `/${style}`);
    await waitFor(() => openStreams.size === 2);
    leaving.pause();
    // More than the buffers on the way hold: a part has left, and the rest waits.
    hub.events.next('x'.repeat(16_000_000));
    await bystander.next({ timeoutMs: 30_000 });
    await leaving.close({ reset: true });
    await waitFor(() => openStreams.size === 1, { timeoutMs: 15_000 });
    if (style === 'connect') {
      await waitFor(() => hub.reasons.length === 1);
    }
    expect(hub.reasons).toEqual(style === 'connect' ? ['client'] : []);
    hub.events.next('after');
    expect((await bystander.next()).data).toBe('after');
    await bystander.close();
    await leftovers.none();
    expect(hub.events.observed).toBe(false);
  });

  it('leaves in one turn with a thousand others leaves nothing behind', async () => {
    const { app, base, hub, leftovers, openStreams } = await start(platform);
    const bystanders = await Promise.all(styles.map((style) => open(app, `/${style}`)));
    const crowd = await Crowd.open(base, platform.http2, pathsOf(1_000));
    expect(openStreams.size).toBe(1_002);
    crowd.leave();
    await waitFor(() => openStreams.size === 2, { timeoutMs: 30_000 });
    hub.events.next('after');
    for (const bystander of bystanders) {
      expect((await bystander.next()).data).toBe('after');
      await bystander.close();
    }
    await leftovers.none();
    expect(hub.events.observed).toBe(false);
  });

  it('resets with a thousand others amid a broadcast does not disturb other clients', async () => {
    const { app, base, hub, leftovers, openStreams } = await start(platform);
    const bystanders = await Promise.all(styles.map((style) => open(app, `/${style}`)));
    const crowd = await Crowd.open(base, platform.http2, pathsOf(1_000));
    expect(openStreams.size).toBe(1_002);
    for (let n = 0; n < 20; n += 1) {
      // The server notices it in a later turn, while it writes to the others.
      if (n === 5) {
        crowd.leave({ reset: true });
      }
      hub.events.next(`event ${n}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const bystander of bystanders) {
      const received = await bystander.take(20, { timeoutMs: 30_000 });
      expect(received.map(({ data }) => data)).toEqual(Array.from({ length: 20 }, (_, n) => `event ${n}`));
    }
    await waitFor(() => openStreams.size === 2, { timeoutMs: 30_000 });
    await Promise.all(bystanders.map((bystander) => bystander.close()));
    await leftovers.none();
    expect(hub.events.observed).toBe(false);
  });

  it.each(styles)(
    'leaves before it is answered leaves nothing behind, nor do hundreds (%s)',
    async (style) => {
      const { app, base, hub, leftovers } = await start(platform);
      const bystander = await open(app, `/${style}`);
      if (platform.http2) {
        const session = connectHttp2(base);
        for (let n = 0; n < 300; n += 1) {
          const stream = session.request({ ':path': `/${style}` });
          stream.on('error', () => undefined);
          // Some leave before the request has left this process, some while it is on its way, some as the headers arrive.
          if (n % 3 === 0) {
            stream.close(constants.NGHTTP2_CANCEL);
          } else if (n % 3 === 1) {
            setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
          } else {
            stream.once('response', () => stream.close(constants.NGHTTP2_CANCEL));
          }
        }
        await waitFor(() => session.state.nextStreamID! > 600);
        session.close();
      } else {
        const { hostname, port } = new URL(base);
        for (let n = 0; n < 300; n += 1) {
          const socket = connectTcp(Number(port), hostname);
          socket.on('error', () => undefined);
          socket.write(`GET /${style} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`, () => {
            if (n % 3 === 0) {
              socket.resetAndDestroy();
            } else if (n % 3 === 1) {
              setImmediate(() => socket.destroy());
            } else {
              socket.once('data', () => socket.destroy());
            }
          });
        }
      }
      await waitFor(() => leftovers.sockets === 1, { timeoutMs: 20_000 });
      hub.events.next('after');
      expect((await bystander.next()).data).toBe('after');
      await bystander.close();
      await leftovers.none();
      expect(hub.events.observed).toBe(false);
    },
  );

  it('streams repeatedly on one connection leaves no listener on it', async () => {
    const { app, hub, leftovers, openStreams } = await start(platform);
    const keptAlive = platform.http2
      ? { http2Session: connectHttp2(baseOf(app)) }
      : { agent: new Agent({ keepAlive: true, maxSockets: 1 }) };
    for (let n = 0; n < 50; n += 1) {
      const stream = await open(app, `/${styles[n % 2]}`, keptAlive);
      await waitFor(() => openStreams.size === 1);
      openStreams.close();
      expect(await stream.ended).toBe('complete');
      // Counted while the connection is open: all of them use the same one.
      await leftovers.none();
    }
    expect(leftovers.sockets).toBe(1);
    expect(hub.events.observed).toBe(false);
    keptAlive.agent?.destroy();
    keptAlive.http2Session?.destroy();
  });

  it('neither reads nor leaves is not written to once its buffers are full', async () => {
    const { app, hub, leftovers, openStreams } = await start(platform, { heartbeatMs: 20 });
    const stalled = await open(app, '/connect');
    stalled.pause();
    const { connection, raw } = hub.connected[0]!;
    while (connection.send('x'.repeat(10_000))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const waiting = raw.writableLength;
    const observer = await open(app, '/connect');
    await observer.until(({ comments }) => comments.length > 10);
    expect(openStreams.size).toBe(2);
    expect(raw.writableLength).toBe(waiting);
    // While it holds its end of the connection, the server cannot notice anything.
    await stalled.close();
    await waitFor(() => hub.reasons.length === 1, { timeoutMs: 15_000 });
    expect(hub.reasons).toEqual(['client']);
    await observer.close();
    await leftovers.none();
  });
});

describe.each(platforms.filter(({ http2 }) => !http2))(
  'on $name over HTTP/1.1, a client that',
  (platform) => {
    it.each(styles)(
      'leaves with requests pipelined behind a stream leaves nothing of them behind (%s)',
      async (style) => {
        const { base, hub, leftovers, openStreams } = await start(platform);
        const client = await RawClient.connect(base);
        client.get(`/${style}`, `/${style}`, `/${style}`);
        await waitFor(() => openStreams.size === 3);
        client.close();
        await leftovers.none();
        expect(hub.events.observed).toBe(false);
        if (style === 'connect') {
          expect(hub.reasons).toEqual(['client', 'client', 'client']);
        }
      },
    );

    it.each(styles)('sends no valid request after its request leaves nothing behind (%s)', async (style) => {
      const { base, hub, leftovers, openStreams } = await start(platform);
      const client = await RawClient.connect(base);
      client.get(`/${style}`);
      await waitFor(() => openStreams.size === 1);
      client.send('\u0000 this is no request \r\n\r\n');
      await waitFor(() => client.hasEnded);
      await leftovers.none();
      expect(hub.events.observed).toBe(false);
    });

    it('closes its own half of the connection counts as gone', async () => {
      const { base, hub, leftovers, openStreams } = await start(platform);
      const { hostname, port } = new URL(base);
      const socket = connectTcp({ host: hostname, port: Number(port), allowHalfOpen: true });
      await once(socket, 'connect');
      socket.write('GET /connect HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await waitFor(() => openStreams.size === 1);
      socket.end();
      await leftovers.none();
      expect(hub.reasons).toEqual(['client']);
      socket.destroy();
    });
  },
);
