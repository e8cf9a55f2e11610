import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { connect, type ClientHttp2Session } from 'node:http2';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { startApache } from '../support/servers/apache.js';
import { startCaddy } from '../support/servers/caddy.js';
import { startHaproxy } from '../support/servers/haproxy.js';
import { startNginx } from '../support/servers/nginx.js';
import type { ProxyServer } from '../support/servers/proxy-server.js';
import { guideBlock } from '../suites/guide-blocks.js';
import { startVarnish } from '../support/servers/varnish.js';
import { expectOneByOne } from './one-by-one.js';
import { adapters, NUMBERS, startOrigin, type Adapter, type Origin } from './origin.js';

const WAIT = { timeoutMs: 20_000 };

interface Front {
  proxy: string;
  http2: boolean;
  start(originPort: number): Promise<ProxyServer>;
  /** How an answer that the origin has cut ends for the client. */
  cut: 'aborted' | 'complete';
  /** Within how many heartbeats the origin learns that a client has left: two, if it is left out. */
  heartbeats?: number;
}

/** The proxies, with the configurations that the guide prints. */
const ofBothVersions = [false, true].flatMap((http2): Front[] => [
  {
    proxy: 'nginx',
    http2,
    start: (originPort) => startNginx({ block: guideBlock('nginx'), originPort, http2 }),
    cut: 'aborted',
  },
  {
    proxy: 'HAProxy',
    http2,
    start: (originPort) => startHaproxy({ block: guideBlock('haproxy'), originPort, http2 }),
    // HAProxy 2.6 ends an HTTP/2 stream in order whatever became of its server: the guide says so.
    cut: http2 ? 'complete' : 'aborted',
  },
]);
const fronts: Front[] = [
  ...ofBothVersions,
  // Caddy ends an answer in order whatever became of its server: the guide says so.
  { proxy: 'Caddy', http2: false, start: startCaddy, cut: 'complete' },
  { proxy: 'Apache', http2: false, start: startApache, cut: 'aborted' },
  { proxy: 'Varnish', http2: false, start: startVarnish, cut: 'aborted', heartbeats: 3 },
];
const table = fronts.flatMap((front) =>
  adapters.map((adapter): [string, Adapter, Front] => [
    `${front.proxy} on HTTP/${front.http2 ? '2' : '1.1'}`,
    adapter,
    front,
  ]),
);

describe.each(table)(
  'behind %s, with an origin on %s',
  (_name, adapter, { http2, start, cut, heartbeats = 2 }) => {
    let origin: Origin;
    let proxy: ProxyServer;

    beforeAll(async () => {
      origin = await startOrigin(adapter, 500);
      proxy = await start(origin.port);
    });
    afterEach(() => waitFor(() => origin.sse.connections.size === 0, WAIT));
    afterAll(async () => {
      await proxy?.stop();
      await origin?.app.close();
    });

    const open = (path: string, method = 'GET') => openSse(proxy.url, path, { ...WAIT, http2, method });

    it('ten events at 100 ms each arrive one by one, whatever the style of the endpoint', async () => {
      const receive = async (path: string, method?: string) => {
        const stream = await open(path, method);
        const events = await stream.take(NUMBERS.length);
        expect(await stream.untilEnd()).toBe('complete');
        await stream.close();
        expect(events.map(({ data }) => data)).toEqual(NUMBERS);
        return events.map(({ receivedAt }) => receivedAt);
      };
      const { sentAt } = origin.pace;

      await Promise.all([
        expectOneByOne(async () => ({ receivedAt: await receive('/sse'), sentAt: sentAt['sse']! })),
        expectOneByOne(async () => ({ receivedAt: await receive('/res'), sentAt: sentAt['res']! })),
        expectOneByOne(async () => ({
          receivedAt: await receive('/answer', 'POST'),
          sentAt: sentAt['answer']!,
        })),
      ]);
    });

    describe.each([
      ['GET', '/sse/quiet'],
      ['GET', '/res/quiet'],
      ['POST', '/answer/open'],
    ])('the client of %s %s', (method, path) => {
      const expectLeavingIsLearnt = async (http2Session?: ClientHttp2Session) => {
        const stream = await openSse(proxy.url, path, { ...WAIT, http2, method, http2Session });
        await stream.until(({ retry }) => retry !== undefined);
        const [connection] = origin.sse.connections;
        const before = origin.writes;

        await stream.close();

        expect(await connection!.closed).toBe('client');
        expect(origin.writes - before).toBeLessThanOrEqual(heartbeats);
      };

      it('leaves by closing its connection, and the origin learns of it within some heartbeats', () =>
        expectLeavingIsLearnt());

      if (http2) {
        it('leaves as a browser does, on a connection that stays, and the origin learns of it, too', async () => {
          const session = connect(proxy.url);
          await expectLeavingIsLearnt(session);
          session.close();
        });
      }
    });

    it('the client of a POST is told of a failure, and sees that its answer was cut', async () => {
      const stream = await open('/answer/broken', 'POST');

      expect(await stream.untilEnd()).toBe(cut);
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', 'begun'],
        ['error', 'Internal server error'],
      ]);
      await stream.close();
    });
  },
);

describe.each(fronts)('behind $proxy, HTTP/2: $http2, when the origin closes', ({ http2, start, cut }) => {
  it('a GET is told when to come back, and a POST is cut', async () => {
    const origin = await startOrigin('Express', 15_000);
    const proxy = await start(origin.port);
    try {
      const events = await openSse(proxy.url, '/sse/quiet', { ...WAIT, http2 });
      const answer = await openSse(proxy.url, '/answer/open', { ...WAIT, http2, method: 'POST' });
      await answer.next();
      await events.until(({ retries }) => retries.length === 1);

      await origin.app.close();

      expect(await events.untilEnd()).toBe('complete');
      expect(events.retries).toHaveLength(2);
      expect(await answer.untilEnd()).toBe(cut);
      await Promise.all([events.close(), answer.close()]);
    } finally {
      await proxy.stop();
      await origin.app.close();
    }
  });
});
