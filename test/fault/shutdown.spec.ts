import { once } from 'node:events';
import { Agent } from 'node:http';
import * as http2 from 'node:http2';
import { afterEach, describe, expect, it } from '@jest/globals';
import { All, Controller, Get, Global, Module, Post, RequestMethod, Res, Sse } from '@nestjs/common';
import type { BeforeApplicationShutdown, INestApplication, Type } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseModuleOptions, StreamEnd } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { NEVER, startWith, Subject } from 'rxjs';
import { Crowd } from '../support/clients/crowd.js';
import { frozenHttp2Client } from '../support/clients/frozen-http2-client.js';
import { Leftovers } from '../support/leftovers.js';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../support/apps/platforms.js';
import { closeRawClients, RawClient } from '../support/clients/raw-client.js';
import { ReturningClients } from '../support/clients/returning-clients.js';

/** Limit of a close that waits for nothing: it tells a server that hangs from a busy machine. */
const PROMPT_MS = 10_000;

@Controller()
class HubController {
  readonly events = new Subject<string>();
  readonly reasons: CloseReason[] = [];
  readonly ends: StreamEnd[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object) {
    const connection = this.sse.connect(res);
    connection.send('hello');
    const subscription = this.events.subscribe((event) => connection.send(event));
    void connection.closed.then((reason) => {
      subscription.unsubscribe();
      this.reasons.push(reason);
    });
  }

  @Post('connect')
  connectPost(@Res() res: object) {
    this.connect(res);
  }

  @Sse('sse')
  stream() {
    return this.events.pipe(startWith('hello'));
  }

  @Sse('sse', { method: RequestMethod.POST })
  streamPost() {
    return this.events.pipe(startWith('hello'));
  }

  @Get('stream')
  async streamed(@Res() res: object) {
    this.ends.push(await this.sse.stream(res, () => this.events.pipe(startWith('hello'))));
  }

  @Post('stream')
  streamedPost(@Res() res: object) {
    return this.streamed(res);
  }

  @All('waiting')
  async waiting(@Res() res: object) {
    this.ends.push(await this.sse.stream(res, () => NEVER));
  }

  @Get('plain')
  plain() {
    return 'plain';
  }
}

const styles = ['connect', 'sse', 'stream'] as const;

/** How a client sees the end: of a GET that may reconnect, and of a response whose end would mean success. */
const endings = [
  ['GET', 'connect', 'complete'],
  ['GET', 'sse', 'complete'],
  ['GET', 'stream', 'aborted'],
  ['POST', 'connect', 'aborted'],
  ['POST', 'sse', 'aborted'],
  ['POST', 'stream', 'aborted'],
] as const;

/** A slow hook of another module. */
class SlowHook implements BeforeApplicationShutdown {
  readonly begun: Promise<void>;
  finish!: () => void;
  #begin!: () => void;
  readonly #finished: Promise<void>;

  constructor() {
    this.begun = new Promise((resolve) => (this.#begin = resolve));
    this.#finished = new Promise((resolve) => (this.finish = resolve));
  }

  async beforeApplicationShutdown() {
    this.#begin();
    await this.#finished;
  }
}

@Module({ providers: [SlowHook], exports: [SlowHook] })
class SlowModule {}

@Global()
@Module({ providers: [SlowHook], exports: [SlowHook] })
class SlowGlobalModule {}

async function start(
  platform: Platform,
  options: SseModuleOptions = {},
  { imports = [], ...create }: CreateOptions & { imports?: Type<unknown>[] } = {},
) {
  const app = await platform.create(
    {
      imports: [...imports, SseModule.forRoot({ maxEventBytes: 20_000_000, ...options })],
      controllers: [HubController],
    },
    create,
  );
  return {
    app,
    base: baseOf(app),
    hub: app.get(HubController),
    leftovers: new Leftovers(app),
    openStreams: app.get(SseService).connections,
  };
}

/** Closes an app. Returns how long it took. */
async function timed(app: INestApplication): Promise<number> {
  const begin = performance.now();
  await app.close();
  return performance.now() - begin;
}

/** A client that does not read, so that the server holds a part of what it was sent. */
async function openStraggler(app: INestApplication): Promise<SseTestStream> {
  const before = new Set(app.get(SseService).connections);
  const straggler = await open(app, '/connect');
  await straggler.next();
  straggler.pause();
  const [connection] = Array.from(app.get(SseService).connections).filter((one) => !before.has(one));
  // More than the buffers on the way hold.
  expect(connection!.send('x'.repeat(16_000_000))).toBe(false);
  return straggler;
}

afterEach(async () => {
  closeRawClients();
  await closeAll();
});

describe.each(platforms)('app.close() on $name', (platform) => {
  it('sends each client a retry of its own, over the whole of spreadMs', async () => {
    const { app, base, hub, leftovers } = await start(platform, { drain: { spreadMs: 10_000 } });
    const paths = Array.from({ length: 100 }, (_, n) => `/${['connect', 'sse'][n % 2]}`);
    const crowd = await Crowd.open(base, platform.http2, paths);
    await app.close();
    await crowd.until(({ isComplete }) => isComplete);
    const retries = crowd.members.map(({ retries }) => {
      expect(retries).toEqual([3_000, expect.any(Number)]);
      return retries[1]!;
    });
    expect(new Set(retries).size).toBe(100);
    for (let from = 0; from < 10_000; from += 1_000) {
      expect(retries.filter((ms) => ms >= from && ms < from + 1_000)).toHaveLength(10);
    }
    expect(hub.reasons).toEqual(Array(50).fill('shutdown'));
    await leftovers.none();
  });

  it('sends no client a retry below leastRetryMs', async () => {
    const drain = { delayMs: 0, timeoutMs: 10_000, leastRetryMs: 20_000, spreadMs: 1_000 };
    const { app, leftovers } = await start(platform, { drain });
    const streams = await Promise.all([open(app, '/connect'), open(app, '/sse')]);
    await app.close();
    await Promise.all(streams.map((stream) => stream.untilEnd()));
    for (const { retry } of streams) {
      expect(retry).toBeGreaterThanOrEqual(20_000);
      expect(retry).toBeLessThan(21_001);
    }
    await Promise.all(streams.map((stream) => stream.close()));
    await leftovers.none();
  });

  it.each(endings)(
    'lets a %s by %s read what was sent before it, and see it %s',
    async (method, style, ending) => {
      const { app, hub, leftovers } = await start(platform);
      const stream = await open(app, `/${style}`, { method });
      await stream.next();
      // More than a socket takes at once, within maxBufferedBytes.
      const events = Array.from({ length: 100 }, (_, n) => `${n} ${'x'.repeat(9_000)}`);
      events.forEach((event) => hub.events.next(event));
      await app.close();
      expect(await stream.ended).toBe(ending);
      expect(stream.events.map(({ data }) => data)).toEqual(['hello', ...events]);
      expect(stream.retry).not.toBe(3_000);
      if (style === 'connect') {
        expect(hub.reasons).toEqual(['shutdown']);
      }
      if (style === 'stream') {
        expect(hub.ends).toMatchObject([{ reason: 'shutdown', events: 101 }]);
      }
      await leftovers.none();
    },
  );

  it.each(['GET', 'POST'])('cuts a stream() by %s that waits for its first item', async (method) => {
    const { app, hub, leftovers, openStreams } = await start(platform);
    const opening = open(app, '/waiting', { method });
    await waitFor(() => openStreams.size === 1);
    await app.close();
    const stream = await opening;
    expect(await stream.ended).toBe('aborted');
    expect(stream.events).toEqual([]);
    expect(hub.ends).toMatchObject([{ reason: 'shutdown', events: 0 }]);
    await leftovers.none();
  });

  it('loses nothing that publishers sent before it, while they go on', async () => {
    const { app, hub, leftovers } = await start(platform);
    const streams = await Promise.all(endings.map(([method, style]) => open(app, `/${style}`, { method })));
    await Promise.all(streams.map((stream) => stream.next()));
    let sent = 0;
    const publish = () => {
      hub.events.next(`${sent} ${'x'.repeat(500)}`);
      sent += 1;
    };
    let publishing = setImmediate(function again() {
      publish();
      publishing = setImmediate(again);
    });
    await waitFor(() => sent > 100);
    const sentBefore = sent;
    await app.close();
    clearImmediate(publishing);
    for (const [n, stream] of streams.entries()) {
      expect(await stream.ended).toBe(endings[n]![2]);
      const [, ...numbers] = stream.events.map(({ data }) => Number.parseInt(data, 10));
      expect(numbers.length).toBeGreaterThanOrEqual(sentBefore);
      expect(numbers).toEqual(numbers.map((_, index) => index));
    }
    expect(hub.events.observed).toBe(false);
    await leftovers.none();
  });

  it('destroys clients that do not read at drain.timeoutMs, and lets the others end in order', async () => {
    const { app, hub, leftovers } = await start(platform, { drain: { timeoutMs: 700 } });
    const reading = await open(app, '/sse');
    const straggler = await openStraggler(app);
    const took = await timed(app);
    // A timer of Node may fire a millisecond early.
    expect(took).toBeGreaterThanOrEqual(690);
    expect(took).toBeLessThan(690 + PROMPT_MS);
    expect(await reading.ended).toBe('complete');
    expect(hub.reasons).toEqual(['shutdown']);
    straggler.resume();
    expect(await straggler.ended).toBe('aborted');
    await leftovers.none();
  });

  it.each(styles)('sheds new clients by %s meanwhile: a GET gets a retry, a POST a 503', async (style) => {
    const { app, leftovers, openStreams } = await start(platform, {
      drain: { timeoutMs: 60_000, spreadMs: 2_000 },
    });
    const straggler = await openStraggler(app);
    const closing = app.close();
    await waitFor(() => openStreams.size === 0);
    const refused = await open(app, `/${style}`);
    expect(await refused.ended).toBe('complete');
    expect(refused.status).toBe(200);
    expect(refused.raw.trimStart()).toMatch(/^retry: \d+\n$/);
    expect(refused.retry).toBeLessThanOrEqual(2_000);
    const refusedPost = await open(app, `/${style}`, { method: 'POST' });
    expect(await refusedPost.ended).toBe('complete');
    expect(refusedPost.status).toBe(503);
    expect(Number(refusedPost.headers['retry-after'])).toBeGreaterThan(0);
    expect(straggler.ending).toBe(undefined);
    straggler.resume();
    await closing;
    expect(await straggler.ended).toBe('complete');
    await leftovers.none();
  });

  it.each(['connect', 'sse'] as const)(
    'is not delayed by clients of %s that reconnect at once on the same connection',
    async (style) => {
      const { app, base, leftovers } = await start(platform, { drain: { spreadMs: 0 } });
      const returning = await ReturningClients.open(base, platform.http2, `/${style}`, 200);
      expect(await timed(app)).toBeLessThan(PROMPT_MS);
      returning.stop();
      await leftovers.none();
    },
  );

  it('is not delayed by connections that are kept alive', async () => {
    const { app, base, leftovers } = await start(platform);
    const keptAlive = platform.http2
      ? { http2Session: http2.connect(base) }
      : { agent: new Agent({ keepAlive: true }) };
    const plain = await open(app, '/plain', keptAlive);
    expect(await plain.body()).toBe('plain');
    const streams = await Promise.all([open(app, '/connect', keptAlive), open(app, '/sse', keptAlive)]);
    expect(await timed(app)).toBeLessThan(PROMPT_MS);
    for (const stream of streams) {
      expect(await stream.ended).toBe('complete');
    }
    keptAlive.agent?.destroy();
    keptAlive.http2Session?.destroy();
    await leftovers.none();
  });

  it('serves clients that come during an earlier hook of a module, and ends them as all others', async () => {
    const { app, hub, leftovers, openStreams } = await start(platform, {}, { imports: [SlowModule] });
    const slow = app.get(SlowHook);
    const closing = app.close();
    await slow.begun;
    const stream = await open(app, '/connect');
    hub.events.next('served');
    expect((await stream.take(2)).map(({ data }) => data)).toEqual(['hello', 'served']);
    expect(openStreams.size).toBe(1);
    slow.finish();
    await closing;
    expect(await stream.ended).toBe('complete');
    expect(hub.reasons).toEqual(['shutdown']);
    await leftovers.none();
  });

  it('sheds clients that come during a later hook of a module, and is not delayed', async () => {
    const { app, base, leftovers, openStreams } = await start(
      platform,
      { drain: { spreadMs: 0 } },
      { imports: [SlowGlobalModule] },
    );
    const slow = app.get(SlowHook);
    const stream = await open(app, '/connect');
    const closing = timed(app);
    await slow.begun;
    expect(await stream.ended).toBe('complete');
    const returning = await ReturningClients.open(base, platform.http2, '/sse', 20);
    const idle = platform.http2 ? http2.connect(base).on('error', () => undefined) : undefined;
    if (idle) {
      await once(idle, 'connect');
    }
    expect(openStreams.size).toBe(0);
    slow.finish();
    const finished = performance.now();
    await closing;
    expect(performance.now() - finished).toBeLessThan(PROMPT_MS);
    returning.stop();
    idle?.destroy();
    await leftovers.none();
  });

  it('goes on serving for drain.delayMs', async () => {
    const { app, hub, leftovers } = await start(platform, { drain: { delayMs: 1_500 } });
    const early = await open(app, '/connect');
    const closing = timed(app);
    const late = await open(app, '/sse');
    expect((await late.next()).data).toBe('hello');
    hub.events.next('served');
    expect((await late.next()).data).toBe('served');
    expect((await early.take(2)).map(({ data }) => data)).toEqual(['hello', 'served']);
    expect(await closing).toBeGreaterThanOrEqual(1_490);
    expect(await early.ended).toBe('complete');
    expect(await late.ended).toBe('complete');
    await leftovers.none();
  });

  it('may be called twice', async () => {
    const { app, hub, leftovers } = await start(platform, { drain: { timeoutMs: 300 } });
    const stream = await open(app, '/connect');
    const straggler = await openStraggler(app);
    await Promise.all([app.close(), app.close()]);
    expect(await stream.ended).toBe('complete');
    expect(hub.reasons).toEqual(['shutdown', 'shutdown']);
    straggler.resume();
    await straggler.ended;
    await leftovers.none();
  });

  it.each(endings)(
    'with forceCloseConnections lets a %s by %s read what was sent as well',
    async (method, style, ending) => {
      const { app, hub, leftovers } = await start(platform, {}, { forceCloseConnections: true });
      const stream = await open(app, `/${style}`, { method });
      await stream.next();
      const events = Array.from({ length: 100 }, (_, n) => `${n} ${'x'.repeat(9_000)}`);
      events.forEach((event) => hub.events.next(event));
      await app.close();
      expect(await stream.ended).toBe(ending);
      expect(stream.events.map(({ data }) => data)).toEqual(['hello', ...events]);
      await leftovers.none();
    },
  );
});

describe.each(platforms.filter(({ http2 }) => !http2))('app.close() on $name', (platform) => {
  // A closing server of Node waits for such a request forever, whatever its timeouts. Only this option of Nest ends it.
  it.each([
    ['its headers', 'GET /connect HTTP/1.1\r\nHost: localhost\r\nX-'],
    [
      'its body',
      'POST /connect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    ],
  ])('with forceCloseConnections does not wait for a client in the middle of %s', async (_, part) => {
    const { app, base, leftovers } = await start(platform, {}, { forceCloseConnections: true });
    const stream = await open(app, '/connect');
    const client = await RawClient.connect(base);
    client.send(part);
    await waitFor(() => leftovers.bytesRead >= part.length);
    expect(await timed(app)).toBeLessThan(PROMPT_MS);
    expect(await stream.ended).toBe('complete');
    await client.until(() => client.hasEnded);
    await leftovers.none();
  });
});

// Fastify runs no handler before it has read the body.
describe.each(platforms.filter(({ name }) => name === 'Express'))('app.close() on $name', (platform) => {
  it('does not wait for the rest of a body that a stream has not read', async () => {
    const { app, base, leftovers, openStreams } = await start(platform, {}, { bodyParser: false });
    const client = await RawClient.connect(base);
    client.send('POST /connect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{');
    await waitFor(() => openStreams.size === 1);
    expect(await timed(app)).toBeLessThan(PROMPT_MS);
    await client.until(() => client.hasEnded);
    await leftovers.none();
  });
});

describe.each(platforms.filter(({ http2 }) => http2))('app.close() on $name', (platform) => {
  it.each([
    ['has no stream', []],
    ['has had plain requests', ['/plain', '/plain']],
  ])('does not wait for a session that %s', async (_, paths) => {
    const { app, base, leftovers } = await start(platform);
    const session = http2.connect(base);
    await once(session, 'connect');
    for (const path of paths) {
      const request = session.request({ ':path': path }).resume();
      await once(request, 'close');
    }
    expect(await timed(app)).toBeLessThan(PROMPT_MS);
    await waitFor(() => session.closed);
    await leftovers.none();
  });

  it.each([
    ['has no stream', []],
    ['has had a plain request', ['/plain']],
    ['has streams', ['/connect', '/sse']],
  ])('does not wait for a client that is frozen and %s', async (_, paths) => {
    const { app, base, leftovers, openStreams } = await start(platform, { drain: { timeoutMs: 100 } });
    const socket = await frozenHttp2Client(base, ...paths);
    const streams = paths.filter((path) => path !== '/plain').length;
    await waitFor(() => openStreams.size === streams && leftovers.sockets === 1);
    expect(await timed(app)).toBeLessThan(PROMPT_MS);
    socket.destroy();
    await leftovers.none();
  });
});
