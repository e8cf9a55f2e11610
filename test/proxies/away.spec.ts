import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { startApache } from '../support/servers/apache.js';
import { startCaddy } from '../support/servers/caddy.js';
import { startHaproxy } from '../support/servers/haproxy.js';
import { findPort } from '../support/servers/local-server.js';
import { startNginx } from '../support/servers/nginx.js';
import type { ProxyServer } from '../support/servers/proxy-server.js';
import { guideBlock } from '../suites/guide-blocks.js';
import { startVarnish } from '../support/servers/varnish.js';
import { startOrigin, type Origin } from './origin.js';

const WAIT = { timeoutMs: 20_000 };

/** With the configurations that the guide prints. */
const proxies: [string, (originPort: number) => Promise<ProxyServer>][] = [
  ['nginx', (originPort) => startNginx({ block: guideBlock('nginx'), originPort })],
  ['HAProxy', (originPort) => startHaproxy({ block: guideBlock('haproxy'), originPort })],
  ['Caddy', startCaddy],
  ['Apache', startApache],
  ['Varnish', startVarnish],
];

describe.each(proxies)('behind %s, while the origin is away,', (_name, start) => {
  let origin: Origin | undefined;
  let port: number;
  let proxy: ProxyServer;

  beforeAll(async () => {
    port = await findPort();
    proxy = await start(port);
  });
  afterEach(async () => {
    await origin?.app.close();
    origin = undefined;
  });
  afterAll(() => proxy?.stop());

  it('an EventSource is told when to come back', async () => {
    const stream = await openSse(proxy.url, '/sse/quiet', WAIT);

    expect(await stream.untilEnd()).toBe('complete');
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(stream.retries).toEqual([2000]);
    expect(stream.events).toEqual([]);
    await stream.close();
  });

  it.each([
    ['a page', 'GET', 'text/html'],
    ['a POST', 'POST', 'text/event-stream'],
  ])('%s gets the error of the proxy', async (_who, method, accept) => {
    const response = await fetch(`${proxy.url}/answer/open`, { method, headers: { Accept: accept } });
    await response.body?.cancel();

    expect([502, 503, 504]).toContain(response.status);
  });

  it('an EventSource stays, and has its events again when the origin is back', async () => {
    origin = await startOrigin('Express', 500, port);
    const source = new EventSource(`${proxy.url}/sse`);
    const seen: string[] = [];
    let errors = 0;
    source.addEventListener('message', ({ data }) => void seen.push(data as string));
    source.addEventListener('error', () => void (errors += 1));
    try {
      await waitFor(() => seen.length > 0, WAIT);
      await origin.app.close();
      const before = errors;
      // It was told to come back at once, by the drain, and has met the proxy alone.
      await waitFor(() => errors > before + 1, WAIT);
      const count = seen.length;

      origin = await startOrigin('Express', 500, port);

      await waitFor(() => seen.length > count, WAIT);
      expect(source.readyState).toBe(EventSource.OPEN);
    } finally {
      source.close();
    }
    await waitFor(() => origin!.sse.connections.size === 0, WAIT);
  });
});
