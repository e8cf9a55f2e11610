import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent } from 'node:http';
import { createParser } from 'eventsource-parser';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { startHaproxy } from '../support/servers/haproxy.js';
import { startNginx } from '../support/servers/nginx.js';
import type { ProxyServer } from '../support/servers/proxy-server.js';
import { guideBlock, replaceOnce } from '../suites/guide-blocks.js';
import { expectOneByOne, gathered, type Delivery } from './one-by-one.js';
import { NUMBERS, startOrigin, type Origin } from './origin.js';

/** Why each line of the printed configurations is there, and what a proxy's other settings do to a stream. */

const WAIT = { timeoutMs: 20_000 };
const HEARTBEAT_MS = 250;
const nginx = guideBlock('nginx');
const haproxy = guideBlock('haproxy');

let origin: Origin;
beforeAll(async () => {
  origin = await startOrigin('Express', HEARTBEAT_MS);
});
afterAll(() => origin.app.close());

async function behind<T>(starting: Promise<ProxyServer>, act: (url: string) => Promise<T>): Promise<T> {
  const proxy = await starting;
  try {
    return await act(proxy.url);
  } finally {
    await proxy.stop();
    await waitFor(() => origin.sse.connections.size === 0, WAIT);
  }
}

async function receive(url: string): Promise<Delivery> {
  const stream = await openSse(url, '/sse', WAIT);
  const events = await stream.take(NUMBERS.length);
  await stream.close();
  return { receivedAt: events.map(({ receivedAt }) => receivedAt), sentAt: origin.pace.sentAt['sse']! };
}

/** As a browser does: asks for compression, and reads what comes through it. */
async function receiveCompressed(url: string): Promise<Delivery & { encoding: string | null }> {
  const response = await fetch(`${url}/sse`, { headers: { 'Accept-Encoding': 'gzip' } });
  const receivedAt: number[] = [];
  const parser = createParser({
    onEvent: () => receivedAt.push(performance.timeOrigin + performance.now()),
  });
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }));
  }
  return {
    receivedAt,
    sentAt: origin.pace.sentAt['sse']!,
    encoding: response.headers.get('content-encoding'),
  };
}

describe('nginx', () => {
  const start = (block = nginx, http = '') => startNginx({ block, originPort: origin.port, http });
  const overHttp10 = replaceOnce(nginx, 'proxy_http_version 1.1;', '');

  it('hands events on one by one over HTTP/1.0, because of X-Accel-Buffering', async () => {
    await behind(start(overHttp10), (url) => expectOneByOne(() => receive(url)));

    const ignoring = 'proxy_ignore_headers X-Accel-Buffering;';
    const delivery = await behind(start(overHttp10, ignoring), receive);
    expect(gathered(delivery).length).toBeGreaterThan(1);
  });

  it('hands compressed events on one by one', async () => {
    const gzip = 'gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0;';
    await behind(start(nginx, gzip), (url) =>
      expectOneByOne(async () => {
        const delivery = await receiveCompressed(url);
        expect(delivery.encoding).toBe('gzip');
        return delivery;
      }),
    );
  });

  it('shows an answer that was cut as complete where it speaks HTTP/1.0 to the origin', async () => {
    await behind(start(overHttp10), async (url) => {
      const stream = await openSse(url, '/answer/broken', { ...WAIT, method: 'POST' });
      expect(await stream.untilEnd()).toBe('complete');
      await stream.close();
    });
  });

  it('takes its connection to the origin for one stream after the other', async () => {
    await behind(start(), (url) => expectOneConnection(url));
  });
});

describe('HAProxy', () => {
  const start = (block = haproxy, backend = '') => startHaproxy({ block, originPort: origin.port, backend });

  it('gathers the events without "option http-no-delay"', async () => {
    const delivery = await behind(start(replaceOnce(haproxy, 'option http-no-delay', '')), receive);

    expect(gathered(delivery).length).toBeGreaterThan(1);
  });

  it('does not compress what is marked no-transform', async () => {
    const compression = '    compression algo gzip\n    compression type text/event-stream';
    await behind(start(haproxy, compression), (url) =>
      expectOneByOne(async () => {
        const delivery = await receiveCompressed(url);
        expect(delivery.encoding).toBeNull();
        return delivery;
      }),
    );
  });

  it('without "option abortonclose" finds by a heartbeat that the client has left', async () => {
    await behind(start(replaceOnce(haproxy, 'option abortonclose', '')), async (url) => {
      const stream = await openSse(url, '/sse/quiet', WAIT);
      await stream.until(({ retry }) => retry !== undefined);
      const [connection] = origin.sse.connections;
      const before = origin.writes;

      await stream.close();

      expect(await connection!.closed).toBe('client');
      expect(origin.writes).toBeGreaterThan(before);
    });
  });

  it('takes its connection to the origin for one stream after the other', async () => {
    await behind(start(), (url) => expectOneConnection(url));
  });
});

describe.each([
  // The printed minute, and the default heartbeat below it, in a fraction of the time.
  ['nginx', () => startNginx({ block: inTwoSeconds(nginx), originPort: origin.port })],
  ['HAProxy', () => startHaproxy({ block: inTwoSeconds(haproxy), originPort: origin.port })],
])('the idle timeouts of %s', (_name, start) => {
  it('cut a quiet stream, and leave one with heartbeats alone', async () => {
    await behind(start(), async (url) => {
      const [quiet, beating] = await Promise.all([
        openSse(url, '/res/quiet?heartbeat=off', WAIT),
        openSse(url, '/res/quiet', WAIT),
      ]);

      expect(await quiet.untilEnd()).toBe('aborted');
      const beats = beating.comments.length;
      await beating.until(({ comments }) => comments.length > beats + 2);
      await Promise.all([quiet.close(), beating.close()]);
    });
  });
});

function inTwoSeconds(block: string): string {
  expect(block).toContain('60s');
  return block.replaceAll('60s', '2s');
}

async function expectOneConnection(url: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const before = origin.sockets;
  for (let n = 0; n < 10; n += 1) {
    const stream = await openSse(url, '/short', { ...WAIT, agent });
    expect(await stream.body()).toContain('data: all there is\n\n');
    await stream.close();
  }
  agent.destroy();
  expect(origin.sockets - before).toBe(1);
}
