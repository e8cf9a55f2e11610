import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Query, RequestMethod, Sse, UseGuards } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, finalize, map, NEVER, Observable, of, Subject, switchMap, take, timer } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';
import { served } from './served.js';

const KIB = 1024;
const FLOOD_CHUNKS = 400;
const CHUNK = 'x'.repeat(64 * KIB);

class Shut {
  canActivate() {
    return false;
  }
}

/** 25 MiB for a client that does not read, a little in each turn: more than any socket takes. */
function flood(): Observable<{ data: string }> {
  return new Observable((subscriber) => {
    const produce = async () => {
      for (let count = 0; count < FLOOD_CHUNKS && !subscriber.closed; count++) {
        subscriber.next({ data: CHUNK });
        await nextTurn();
      }
      subscriber.complete();
    };
    void produce();
  });
}

@Controller()
@SseOptions({ retryMs: 2222, heartbeatMs: false })
class Limits {
  calls = 0;
  stopped = 0;
  readonly reasons: CloseReason[] = [];
  readonly start = new Subject<void>();

  @Sse('by-controller')
  byController(@Connection() connection: SseConnection) {
    return this.#watched(connection);
  }

  @Sse('by-route')
  @SseOptions({ retryMs: 1111, heartbeatMs: 20 })
  byRoute(@Connection() connection: SseConnection) {
    return this.#watched(connection);
  }

  @Sse('by-route', { method: RequestMethod.POST })
  post(@Connection() connection: SseConnection) {
    return this.#watched(connection);
  }

  @Sse('rotated')
  @SseOptions({ maxConnectionMs: 60 })
  rotated(@Connection() connection: SseConnection) {
    return this.#watched(connection);
  }

  @Sse('rotated', { method: RequestMethod.POST })
  @SseOptions({ maxConnectionMs: 60 })
  rotatedPost(@Connection() connection: SseConnection) {
    return this.#watched(connection);
  }

  @Sse('shut')
  @UseGuards(Shut)
  shut() {
    return of({ data: 'inside' });
  }

  @Sse('burst')
  burst(@Connection() connection: SseConnection, @Query('chunks') chunks: string) {
    return this.#watched(connection, of(...Array.from({ length: Number(chunks) }, () => CHUNK)));
  }

  @Sse('burst-pending', { maxPendingDataLength: KIB * KIB })
  burstPending(@Connection() connection: SseConnection, @Query('chunks') chunks: string) {
    return this.burst(connection, chunks);
  }

  @Sse('burst-bounded')
  @SseOptions({ maxBurstBytes: KIB * KIB })
  burstBounded(@Connection() connection: SseConnection, @Query('chunks') chunks: string) {
    return this.burst(connection, chunks);
  }

  @Sse('flood')
  flood(@Connection() connection: SseConnection) {
    return this.#flooded(connection);
  }

  @Sse('flood-pending', { maxPendingDataLength: 4 * KIB * KIB })
  floodPending(@Connection() connection: SseConnection) {
    return this.#flooded(connection);
  }

  @Sse('flood-unbounded', { maxPendingDataLength: 0 })
  floodUnbounded(@Connection() connection: SseConnection) {
    return this.#flooded(connection);
  }

  @Sse('flood-nan', { maxPendingDataLength: NaN })
  floodNaN(@Connection() connection: SseConnection) {
    return this.#flooded(connection);
  }

  @Sse('too-large')
  @SseOptions({ maxEventBytes: 100 })
  tooLarge() {
    return of({ data: 'fits' }, { data: 'x'.repeat(100) }, { data: 'fits as well' });
  }

  #flooded(connection: SseConnection) {
    return this.#watched(
      connection,
      concat(of({ data: 'first' }), this.start.pipe(take(1), switchMap(flood))),
    );
  }

  #watched(connection: SseConnection, events: Observable<unknown> = concat(of({ data: 'first' }), NEVER)) {
    this.calls += 1;
    void connection.closed.then((reason) => this.reasons.push(reason));
    return events.pipe(finalize(() => (this.stopped += 1)));
  }
}

abstract class Inherited {
  @Sse('feed')
  feed() {
    return concat(of({ data: 'first' }), NEVER);
  }
}

@Controller('slow')
@SseOptions({ retryMs: 9000 })
class Slow extends Inherited {}

@Controller('fast')
@SseOptions({ retryMs: 90 })
class Fast extends Inherited {}

@Controller('unset')
class Unset extends Inherited {}

@Controller()
class Defaults {
  @Sse('defaults')
  defaults() {
    return concat(of({ data: 'first' }), NEVER);
  }
}

@Controller()
class BurstAlone {
  @Sse('burst-and-one-more')
  burst(@Query('chunks') chunks: string) {
    const burst = Array.from({ length: Number(chunks) }, () => ({ data: CHUNK }));
    return concat(of(...burst), timer(1).pipe(map(() => ({ data: 'one more' }))), NEVER);
  }
}

function appOf({ create }: Platform, options: SseModuleOptions = {}) {
  return create({
    imports: [SseModule.forRoot(options)],
    controllers: [Limits, Defaults, BurstAlone, Slow, Fast, Unset],
  });
}

/** A client that reads one event and then stops, while the route sends a flood. */
async function openAndStall(server: INestApplication, path: string) {
  const stream = await open(server, path);
  await stream.next();
  stream.pause();
  server.get(Limits).start.next();
  return stream;
}

afterEach(closeAll);

describe.each(served)('the limits of an @Sse() route on $name', (platform) => {
  it('are those of the module, unless the controller or the route sets others', async () => {
    const server = await appOf(platform, { retryMs: 4444, heartbeatMs: 15 });
    const streams = await Promise.all(
      ['/defaults', '/by-controller', '/by-route'].map((path) => open(server, path)),
    );
    const [defaults, byController, byRoute] = streams;
    // After two heartbeats of the others, the route without heartbeats would have sent one.
    await defaults!.until(({ comments }) => comments.length >= 2);
    await byRoute!.until(({ comments }) => comments.length >= 2);
    expect(streams.map(({ retries }) => retries)).toEqual([[4444], [2222], [1111]]);
    expect(byController!.comments).toEqual([]);
    expect(byRoute!.raw).toMatch(/^retry: 1111\ndata: first\n\n:\n:\n/);
  });

  it('are those of each controller if several inherit a route', async () => {
    const server = await appOf(platform);
    const streams = await Promise.all(
      ['/slow', '/fast', '/unset'].map((path) => open(server, `${path}/feed`)),
    );
    await Promise.all(streams.map((stream) => stream.next()));
    expect(streams.map(({ retry }) => retry)).toEqual([9000, 90, 3000]);
  });

  it('close a client that does not read, and free what waits for it', async () => {
    const server = await appOf(platform);
    const limits = server.get(Limits);
    const stream = await openAndStall(server, '/flood');
    await waitFor(() => limits.reasons.length === 1, { timeoutMs: 15_000 });
    expect(limits.reasons).toEqual(['slow']);
    expect(limits.stopped).toBe(1);
    expect(server.get(SseService).connections.size).toBe(0);
    stream.resume();
    expect(await stream.ended).toBe('aborted');
    expect(stream.events.length).toBeLessThan(FLOOD_CHUNKS);
  });

  it('allow to wait what plain Nest allows: a burst in one turn, and what follows at once', async () => {
    const server = await appOf(platform);
    const alone = await platform.create({ controllers: [BurstAlone] });
    for (const app of [alone, server]) {
      const stream = await open(app, '/burst-and-one-more?chunks=60');
      await stream.until(({ events }) => events.length === 61, { timeoutMs: 15_000 });
      expect(stream.events.at(-1)!.data).toBe('one more');
    }
  });

  it('deliver a burst in one turn that is over maxBufferedBytes: the client had no turn to read', async () => {
    for (const options of [{}, { maxBufferedBytes: KIB }]) {
      const server = await appOf(platform, options);
      const stream = await open(server, '/burst?chunks=200');
      expect(await stream.ended).toBe('complete');
      expect(stream.events).toHaveLength(200);
      expect(server.get(Limits).reasons).toEqual(['server']);
    }
  });

  it('bound a burst in one turn, however fast the client reads: by maxBurstBytes, or by maxPendingDataLength', async () => {
    const bursts = [
      { path: '/burst?chunks=300', options: {} },
      { path: '/burst?chunks=50', options: { maxBurstBytes: KIB * KIB } },
      { path: '/burst-bounded?chunks=50', options: {} },
      { path: '/burst-pending?chunks=50', options: {} },
    ];
    for (const { path, options } of bursts) {
      const server = await appOf(platform, options);
      const limits = server.get(Limits);
      const fits = await open(server, path.replace(/\d+$/, '15'));
      expect(await fits.ended).toBe('complete');
      expect(fits.events).toHaveLength(15);
      await expect(open(server, path).then(({ ended }) => ended)).rejects.toMatchObject({
        code: 'unreachable',
      });
      await waitFor(() => limits.reasons.length === 2);
      expect(limits.reasons).toEqual(['server', 'slow']);
    }
  });

  it.each(['/flood-pending', '/flood-nan'])('include maxPendingDataLength of Nest: %s', async (path) => {
    const server = await appOf(platform);
    const limits = server.get(Limits);
    const stream = await openAndStall(server, path);
    await waitFor(() => limits.reasons.length === 1, { timeoutMs: 15_000 });
    expect(limits.reasons).toEqual(['slow']);
    stream.resume();
    expect(await stream.ended).toBe('aborted');
  });

  it('are off if maxPendingDataLength is 0: the client gets everything once it reads', async () => {
    const server = await appOf(platform);
    const limits = server.get(Limits);
    const stream = await openAndStall(server, '/flood-unbounded');
    await waitFor(() => limits.stopped === 1, { timeoutMs: 15_000 });
    expect(limits.reasons).toEqual(['server']);
    stream.resume();
    expect(await stream.ended).toBe('complete');
    expect(stream.events).toHaveLength(FLOOD_CHUNKS + 1);
  });

  it('leave out an event over maxEventBytes', async () => {
    const server = await appOf(platform);
    const stream = await open(server, '/too-large');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'fits'],
      ['message', 'fits as well'],
    ]);
  });

  it('turn away a client over maxConnections, with a retry', async () => {
    const server = await appOf(platform, { maxConnections: 1 });
    const limits = server.get(Limits);
    const first = await open(server, '/by-route');
    await first.next();

    const get = await open(server, '/by-route');
    expect(await get.ended).toBe('complete');
    expect(get.status).toBe(200);
    expect(get.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(get.events).toEqual([]);
    expect(get.raw).toMatch(/^retry: \d+\n$/);
    expect(get.retry).toBeGreaterThanOrEqual(15_000);
    expect(get.retry).toBeLessThanOrEqual(45_000);

    const post = await open(server, '/by-route', { method: 'POST' });
    expect(post.status).toBe(503);
    expect(Number(post.headers['retry-after'])).toBeGreaterThanOrEqual(15);
    expect(Number(post.headers['retry-after'])).toBeLessThanOrEqual(45);
    expect(JSON.parse(await post.body())).toMatchObject({ statusCode: 503 });

    const head = await open(server, '/by-route', { method: 'HEAD' });
    expect(await head.ended).toBe('complete');
    expect(head.status).toBe(200);

    expect(limits.calls).toBe(1);
    expect(server.get(SseService).connections.size).toBe(1);

    await first.close();
    await waitFor(() => limits.reasons.length === 1);
    await waitFor(async () => {
      const next = await open(server, '/by-route');
      return (await Promise.race([next.next(), next.ended])) !== 'complete';
    });
    expect(limits.calls).toBe(2);
  });

  it('do not count a client that a guard refused', async () => {
    const server = await appOf(platform, { maxConnections: 1 });
    for (let time = 0; time < 3; time++) {
      expect((await open(server, '/shut')).status).toBe(403);
    }
    expect((await (await open(server, '/by-route')).next()).data).toBe('first');
  });

  it('close a connection after maxConnectionMs: a GET in order, the answer to a POST so that it is no success', async () => {
    const server = await appOf(platform);
    const limits = server.get(Limits);
    const get = await open(server, '/rotated');
    expect(await get.ended).toBe('complete');
    expect(get.events.map(({ data }) => data)).toEqual(['first']);
    const post = await open(server, '/rotated', { method: 'POST' });
    expect(await post.ended).toBe('aborted');
    expect(post.events.map(({ data }) => data)).toEqual(['first']);
    await waitFor(() => limits.reasons.length === 2);
    expect(limits.reasons).toEqual(['expired', 'expired']);
    expect(limits.stopped).toBe(2);
  });

  it('end with the app: a GET gets a retry, a POST is cut', async () => {
    const server = await appOf(platform, { drain: { spreadMs: 700 } });
    const limits = server.get(Limits);
    const get = await open(server, '/by-controller');
    const post = await open(server, '/by-route', { method: 'POST' });
    await Promise.all([get.next(), post.next()]);
    await Promise.all([server.close(), get.ended, post.ended]);
    expect(get.ending).toBe('complete');
    expect(get.retries).toEqual([2222, expect.any(Number)]);
    expect(get.retry).toBeLessThanOrEqual(700);
    expect(post.ending).toBe('aborted');
    expect(limits.reasons).toEqual(['shutdown', 'shutdown']);
    expect(limits.stopped).toBe(2);
  });
});
