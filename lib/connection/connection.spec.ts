import { request } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { CONNECTION_SETTINGS, createRegistry, StreamServer } from '../../test/support/apps/stream-server.js';
import type { CloseReason } from './connection.js';
import { eventStreamOf } from './event-stream-response.js';
import type { EventStreamResponse } from './event-stream-response.js';
import { ConnectionRegistry } from './registry.js';
import type { ConnectionSettings } from './response-host.js';
import { toPlatform } from '../http/platform.js';

describe('SseConnection', () => {
  let server: StreamServer;
  let registry: ConnectionRegistry;
  let warnings: string[];
  let errors: string[];
  let handle: (res: ServerResponse) => void;

  beforeEach(async () => {
    warnings = [];
    errors = [];
    registry = createRegistry({
      reporter: {
        warn: (message) => warnings.push(message),
        error: (message) => errors.push(message),
        debug: () => undefined,
      },
    });
    server = await StreamServer.listen((_req: IncomingMessage, res) => handle(res));
  });

  afterEach(async () => {
    await server.close();
    await waitFor(() => registry.wheel.size === 0 && registry.size === 0, {
      describe: () => `no deadline and no connection left, but ${registry.wheel.size} and ${registry.size}`,
    });
  });

  const connect = (res: ServerResponse, settings: Partial<ConnectionSettings> = {}, finite = false) => {
    const connection = registry.admit({
      platform: toPlatform(res),
      settings: { ...CONNECTION_SETTINGS, ...settings },
      finite,
    });
    connection.commit();
    return connection;
  };

  const open = async (
    settings: Partial<ConnectionSettings> = {},
    finite = false,
  ): Promise<{ stream: SseTestStream; connection: EventStreamResponse }> => {
    let connection: EventStreamResponse | undefined;
    handle = (res) => {
      connection = connect(res, settings, finite);
    };
    const { port } = server;
    const stream = await openSse(`http://127.0.0.1:${port}`, '/');
    return { stream, connection: connection! };
  };

  it('writes retry first, without a blank line, then frames in order', async () => {
    const { stream, connection } = await open();
    connection.send('one');
    connection.comment('two');
    connection.send({ data: 3, id: '3', type: 'three' });
    connection.forApp.close();
    await stream.ended;
    expect(stream.raw).toBe('retry: 3000\ndata: one\n\n: two\nevent: three\ndata: 3\nid: 3\n\n');
  });

  it('holds what is sent before the headers are out, and sends it after retry', async () => {
    handle = (res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: false,
      });
      connection.send('early');
      expect(res.headersSent).toBe(false);
      connection.commit();
      connection.forApp.close();
    };
    const stream = await server.open();
    await stream.ended;
    expect(stream.raw).toBe('retry: 3000\ndata: early\n\n');
  });

  it('leaves out an event whose content cannot be sent, reports it, and goes on', async () => {
    const { stream, connection } = await open({ maxEventBytes: 100 });
    expect(connection.send({ data: 'x', id: 'a\nb' })).toBe(false);
    expect(connection.send(1n as unknown as number)).toBe(false);
    expect(connection.send('x'.repeat(101))).toBe(false);
    expect(connection.comment('x'.repeat(101))).toBe(false);
    expect(connection.send('fine')).toBe(true);
    connection.forApp.close();
    await stream.ended;
    expect(stream.raw).toBe('retry: 3000\ndata: fine\n\n');
    expect(errors).toEqual([
      expect.stringMatching(/^An event of \/ could not be sent, and was left out: "id" is printable/),
    ]);
  });

  it('throws a value of a wrong kind, which is the code’s mistake', async () => {
    const { stream, connection } = await open();
    expect(() => connection.send(Buffer.from('x'))).toThrow('bytes');
    expect(() => connection.send(Promise.reject(new Error('late')))).toThrow('Await it');
    expect(() => connection.send({ data: 1, id: true })).toThrow('"id"');
    expect(() => connection.comment({} as never)).toThrow('"comment"');
    connection.send('fine');
    connection.forApp.close();
    await stream.ended;
    expect(stream.raw).toBe('retry: 3000\ndata: fine\n\n');
    expect(errors).toEqual([]);
  });

  it('throws the content of a part, without which the answer would look complete', async () => {
    const { stream, connection } = await open({}, true);
    const tooLarge = 'x'.repeat(2 ** 20);
    expect(() => connection.sendItem(tooLarge)).toThrow('maxEventBytes');
    expect(() => connection.sendPart(tooLarge)).toThrow('maxEventBytes');
    expect(connection.send(tooLarge)).toBe(false);
    connection.forApp.close();
    await stream.ended;
  });

  it('handles the rejection of a promise that is sent to a client that has left', async () => {
    const { stream, connection } = await open();
    connection.forApp.close();
    await stream.ended;
    expect(connection.send(Promise.reject(new Error('late')))).toBe(false);
    expect(connection.send({ data: Promise.reject(new Error('late')) })).toBe(false);
    // A rejection that nobody handles fails the run once this turn is over.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('names unknown fields so that no terminal acts on them', async () => {
    const { stream, connection } = await open();
    connection.send({ data: 1, ['\u009b2J\u2028']: 2 });
    expect(warnings).toEqual([expect.stringContaining('"\\u009b2J\\u2028"')]);
    await stream.close();
  });

  it('sends a heartbeat after silence only, and never within a frame', async () => {
    const { stream, connection } = await open({ heartbeatMs: 40 });
    await stream.until(({ comments }) => comments.length >= 2);
    connection.send('between');
    await stream.until(({ comments }) => comments.length >= 4);
    expect(stream.raw.replaceAll(':\n', '')).toBe('retry: 3000\ndata: between\n\n');
    await stream.close();
  });

  /** Sends kilobytes in this turn, as long as they are taken. @returns how many were */
  const burst = (connection: EventStreamResponse, count: number): number => {
    let sent = 0;
    for (; sent < count; sent += 1) {
      connection.send('x'.repeat(992));
      if (connection.isClosed) {
        break;
      }
    }
    return sent;
  };
  // "data: " and two line ends: each event takes 1,000 bytes, and as a chunk of HTTP/1.1 eight more.
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('delivers a burst of one turn that is over maxBufferedBytes, to a client that reads', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 10_000 });
    expect(burst(connection, 2_000)).toBe(2_000);
    connection.forApp.close();
    expect(await stream.ended).toBe('complete');
    expect(stream.events).toHaveLength(2_000);
  });

  it('delivers a burst that comes before the headers', async () => {
    handle = (res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: { ...CONNECTION_SETTINGS, maxBufferedBytes: 10_000 },
        finite: false,
      });
      expect(burst(connection, 2_000)).toBe(2_000);
      connection.commit();
      connection.forApp.close();
    };
    const stream = await server.open();
    expect(await stream.ended).toBe('complete');
    expect(stream.events).toHaveLength(2_000);
  });

  it.each([
    ['once its headers are out', true],
    ['before its headers', false],
  ])('takes a burst up to maxBurstBytes, and closes past it as slow, %s', async (_when, isOpen) => {
    const closed: (CloseReason | undefined)[] = [];
    for (const maxBurstBytes of [499_000, 510_000, 600_000]) {
      const settings = { ...CONNECTION_SETTINGS, maxBufferedBytes: 10_000, maxBurstBytes };
      let connection: EventStreamResponse | undefined;
      handle = (res) => {
        connection = registry.admit({ platform: toPlatform(res), settings, finite: false });
        if (isOpen) {
          connection.commit();
        }
        burst(connection, 500);
        connection.whenClosed((reason) => closed.push(reason));
        connection.commit();
        connection.forApp.close();
      };
      const stream = await server.open().catch(() => undefined);
      await stream?.ended;
    }
    expect(closed).toEqual(['slow', 'server', 'server']);
  });

  it('counts a burst to the byte', async () => {
    const reasons: CloseReason[] = [];
    for (const maxBurstBytes of [19_999, 20_000, 20_001]) {
      handle = (res) => {
        const settings = { ...CONNECTION_SETTINGS, maxBufferedBytes: 1, maxBurstBytes };
        const connection = registry.admit({ platform: toPlatform(res), settings, finite: false });
        connection.whenClosed((reason) => reasons.push(reason));
        burst(connection, 20);
        connection.commit();
        connection.forApp.close();
      };
      const stream = await server.open().catch(() => undefined);
      await stream?.ended;
    }
    expect(reasons).toEqual(['slow', 'server', 'server']);
  });

  it('bounds what waits for a client that had a turn to read and did not, and closes it as slow', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 200_000 });
    stream.pause();
    const reasons: CloseReason[] = [];
    void connection.closed.then((reason) => reasons.push(reason));
    let most = 0;
    while (!connection.isClosed) {
      connection.send('x'.repeat(1_000));
      most = Math.max(most, connection.output.waitingBytes);
      await turn();
    }
    expect(connection.send('more')).toBe(false);
    expect(most).toBeGreaterThan(190_000);
    // The socket's own high-water mark, with which the client still kept up.
    expect(most).toBeLessThan(200_000 + 70_000);
    await waitFor(() => reasons.length === 1);
    expect(reasons).toEqual(['slow']);
    expect(registry.size).toBe(0);
    await stream.close();
  });

  it('lets a burst wait beside what comes after it, which has a bound of its own', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 200_000 });
    stream.pause();
    expect(burst(connection, 10_000)).toBe(10_000);
    await turn();
    const before = connection.output.waitingBytes;
    let after = 0;
    while (!connection.isClosed) {
      connection.send('x'.repeat(992));
      after += 1;
      await turn();
    }
    expect(before).toBeGreaterThan(200_000);
    expect(await connection.closed).toBe('slow');
    expect(after).toBeGreaterThanOrEqual(200);
    expect(after).toBeLessThanOrEqual(202);
    await stream.close();
  });

  it('lets one event pass that is larger than the bound, where nothing waits', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 10 });
    connection.send('x'.repeat(1_000));
    expect((await stream.next()).data).toHaveLength(1_000);
    await stream.close();
  });

  it('is cut where other code ends a response that has a source, before its last chunk leaves', async () => {
    handle = (res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: true,
        hasSource: true,
      });
      connection.commit();
      connection.send('half');
      res.end();
    };
    const stream = await server.open();
    expect(await stream.ended).toBe('aborted');
    expect(stream.events.map(({ type, data }) => `${type} ${data}`)).toEqual([
      'message half',
      'error Internal server error',
    ]);
    expect(warnings).toHaveLength(1);
  });

  it('closes all others where one cannot be closed', async () => {
    const opened = [await open(), await open(), await open()];
    opened[1]!.connection.endWith(() => {
      throw new Error('of one client');
    });
    expect(registry.close()).toBe(3);
    expect(await Promise.all(opened.map(({ stream }) => stream.ended))).toEqual([
      'complete',
      'aborted',
      'complete',
    ]);
  });

  it('says whether the client keeps up, and when it has caught up', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 50_000_000 });
    stream.pause();
    while (connection.send('x'.repeat(50_000))) {
      // Until the socket takes no more.
    }
    let isDrained = false;
    const drained = connection.drained().then(() => {
      isDrained = true;
    });
    await Promise.resolve();
    expect(isDrained).toBe(false);
    stream.resume();
    await drained;
    expect(connection.send('again')).toBe(true);
    await stream.close();
  });

  it('settles drained() when the client leaves', async () => {
    const { stream, connection } = await open({ maxBufferedBytes: 50_000_000 });
    stream.pause();
    while (connection.send('x'.repeat(50_000))) {
      // Until the socket takes no more.
    }
    const drained = connection.drained();
    await stream.close();
    await drained;
    expect(await connection.closed).toBe('client');
  });

  it('aborts its signal and resolves closed once, with the first reason', async () => {
    const { stream, connection } = await open();
    let aborts = 0;
    connection.signal.addEventListener('abort', () => (aborts += 1));
    connection.forApp.close();
    connection.destroy('slow');
    connection.forApp.close();
    await stream.ended;
    expect(await connection.closed).toBe('server');
    expect(aborts).toBe(1);
    expect(connection.signal.aborted).toBe(true);
  });

  it('returns an aborted signal after the end', async () => {
    const { stream, connection } = await open();
    await stream.close();
    expect(await connection.closed).toBe('client');
    expect(connection.signal.aborted).toBe(true);
  });

  it('tells the client when to come back as it closes', async () => {
    const { stream, connection } = await open();
    connection.forApp.close({ retryMs: 50 });
    expect(await stream.ended).toBe('complete');
    expect(stream.raw).toBe('retry: 3000\nretry: 50\n');
  });

  it('refuses a retry that cannot be sent, and stays open', async () => {
    const { stream, connection } = await open();
    expect(() => connection.forApp.close({ retryMs: -1 })).toThrow('"retry"');
    expect(connection.isClosed).toBe(false);
    await stream.close();
  });

  it('cuts an answer whose end would look like success, after what was sent', async () => {
    const { stream, connection } = await open({}, true);
    connection.send('part');
    connection.interrupt('shutdown');
    expect(await stream.ended).toBe('aborted');
    expect(stream.events.map(({ data }) => data)).toEqual(['part']);
    expect(await connection.closed).toBe('shutdown');
  });

  it('ends a connection within the last tenth of maxConnectionMs', async () => {
    const { stream, connection } = await open({ maxConnectionMs: 100 });
    expect(await stream.ended).toBe('complete');
    expect(await connection.closed).toBe('expired');
  });

  it('ends a connection at once if expiresAt has passed', async () => {
    const { stream, connection } = await open({ expiresAt: new Date(0) });
    expect(await stream.ended).toBe('complete');
    expect(await connection.closed).toBe('expired');
  });

  it('warns of fields that no event has, once a route', async () => {
    const { stream, connection } = await open();
    connection.send({ data: 1, event: 'wrong' });
    connection.send({ data: 2, event: 'wrong' });
    expect((await stream.take(2)).map(({ data }) => data)).toEqual(['1', '2']);
    expect(warnings).toEqual([expect.stringContaining('/ sends events with "event", which no event has')]);
    await stream.close();
  });

  it('survives a write of the app after the end of the response', async () => {
    let connection: EventStreamResponse | undefined;
    let response: ServerResponse | undefined;
    handle = (res) => {
      response = res;
      connection = connect(res);
      connection.send('last');
      res.end();
    };
    const stream = await server.open();
    await stream.ended;
    response!.write('stray');
    expect(connection!.send('late')).toBe(false);
    expect(await connection!.closed).toBe('server');
    expect(stream.events.map(({ data }) => data)).toEqual(['last']);
  });

  it('answers HEAD with the headers alone, and is closed', async () => {
    let connection: EventStreamResponse | undefined;
    handle = (res) => {
      connection = connect(res);
      connection.send('nothing');
    };
    const { port } = server;
    const response = await new Promise<IncomingMessage>((resolve) => {
      request({ port, host: '127.0.0.1', method: 'HEAD' }, resolve).end();
    });
    response.resume();
    expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(await connection!.closed).toBe('server');
  });

  it('is found from its response, and not after it was released', async () => {
    const found: unknown[] = [];
    handle = (res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: false,
      });
      found.push(eventStreamOf(toPlatform(res).raw) === connection);
      connection.release();
      found.push(eventStreamOf(toPlatform(res).raw), res.listenerCount('close'), res.listenerCount('error'));
      res.writeHead(418).end();
    };
    const stream = await server.open();
    expect(stream.status).toBe(418);
    await stream.ended;
    // Node's own listener of the response is the one that is left.
    expect(found).toEqual([true, undefined, 0, 0]);
  });
});

describe('toPlatform', () => {
  it.each([
    [undefined, 'got undefined'],
    [null, 'got null'],
    ['res', 'got "res"'],
    [{ json() {} }, 'got an object'],
  ])('refuses %p and says what it wants', (given, message) => {
    expect(() => toPlatform(given)).toThrow(message);
  });
});
