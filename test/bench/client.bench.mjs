/** What the client costs a page, beside a bare EventSource: CPU, memory, and the time from a cut to the first event again. */
import { execSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { median, quantile, table } from './statistics.mjs';

export const title = 'The client in Chromium, beside EventSource';

const EVENTS = 10_000;
const RETRY_MS = 100;
/** What a page does with each kind of client: it parses the data, and counts. */
const PAGE = `
  import { SseClient } from '/client.js';
  const client = new SseClient();
  globalThis.state = { count: 0, last: 0, gaps: [] };
  const take = ({ n }) => { state.count += 1; state.n = n; };
  const timed = (data) => {
    const now = performance.now();
    // Events come every 5 ms: what is longer than the retry was a cut.
    if (state.last && now - state.last > ${RETRY_MS * 0.9}) state.gaps.push(now - state.last);
    state.last = now;
    take(data);
  };
  const follow = {
    EventSource: (url, each) => {
      const source = new EventSource(url);
      source.onmessage = ({ data }) => each(JSON.parse(data));
      return source;
    },
    client: (url, each) => {
      const feed = client.follow(url);
      feed.on('message', each);
      return feed;
    },
    loop: (url, each) => {
      const feed = client.follow(url);
      void (async () => { for await (const { data } of feed) each(data); })();
      return feed;
    },
    unread: (url) => {
      const feed = client.follow(url);
      void feed[Symbol.asyncIterator]().next();
      return feed;
    },
  };
  globalThis.begin = (kind, url, isTimed) => {
    state = { count: 0, last: 0, gaps: [] };
    globalThis.open = follow[kind](url, isTimed ? timed : take);
  };`;

export async function run({ quick, progress }) {
  const { outputFiles } = await build({
    stdin: {
      contents: "export { SseClient } from 'nestjs-event-stream/client';",
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
  });
  const server = new EventServer(outputFiles[0].text);
  const base = await server.listen();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? execSync('command -v chromium', { encoding: 'utf8' }).trim(),
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  try {
    const page = await browser.newPage();
    const meter = new Meter(page, await page.context().newCDPSession(page));
    await page.goto(base);
    await page.waitForFunction('globalThis.begin');
    return [
      await cpu(meter, quick ? 3 : 8, progress),
      await comingBack(meter, server, quick ? 15 : 50, progress),
      await memory(meter, server, quick ? 10 : 60, progress),
    ].join('\n\n');
  } finally {
    await browser.close();
    server.close();
  }
}

/** Chromium's own measures of the page's main thread, which are in seconds, and of its heap after a collection. */
class Meter {
  #cdp;

  constructor(page, cdp) {
    this.page = page;
    this.#cdp = cdp;
  }

  async metrics() {
    // The thread's own time: another process that has the core meanwhile does not count.
    await this.#cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
    const { metrics } = await this.#cdp.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  }

  async heapMb() {
    await this.#cdp.send('HeapProfiler.collectGarbage');
    return (await this.metrics()).JSHeapUsedSize / 1e6;
  }

  begin(kind, path, isTimed = false) {
    return this.page.evaluate(`begin('${kind}', '${path}', ${isTimed})`);
  }

  end() {
    return this.page.evaluate('open.close()');
  }
}

async function cpu(meter, rounds, progress) {
  const kinds = ['EventSource', 'client', 'loop'];
  const ways = { 'ten in a write': 10, 'a thousand in a write': 1_000 };
  const ms = {};
  for (let round = 0; round < rounds; round += 1) {
    progress(`CPU, round ${round + 1} of ${rounds}`);
    for (const [way, size] of Object.entries(ways)) {
      for (const kind of kinds) {
        const before = await meter.metrics();
        await meter.begin(kind, `/burst?events=${EVENTS}&size=${size}`);
        await meter.page.waitForFunction(`state.count >= ${EVENTS}`, undefined, { polling: 50 });
        const after = await meter.metrics();
        await meter.end();
        (ms[`${kind}, ${way}`] ??= []).push((after.TaskDuration - before.TaskDuration) * 1_000);
      }
    }
  }
  const rows = Object.entries(ms).map(([name, values]) => [
    name,
    median(values).toFixed(0),
    `${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)}`,
  ]);
  return [
    `CPU of the page's main thread for ${EVENTS} events, in ms; medians of ${rounds} interleaved rounds.`,
    '',
    table(['', 'ms', 'least to most'], rows),
  ].join('\n');
}

async function comingBack(meter, server, cuts, progress) {
  const rows = [];
  for (const kind of ['EventSource', 'client']) {
    progress(`${cuts} cuts of ${kind}`);
    await meter.begin(kind, '/steady?perSecond=200', true);
    for (let cut = 1; cut <= cuts; cut += 1) {
      await meter.page.waitForFunction('performance.now() - state.last < 50 && state.count > 20', undefined, {
        polling: 10,
      });
      server.cut();
      await meter.page.waitForFunction(`state.gaps.length >= ${cut}`, undefined, { polling: 20 });
    }
    const gaps = await meter.page.evaluate('state.gaps');
    await meter.end();
    rows.push([kind, quantile(gaps, 0.5).toFixed(0), quantile(gaps, 0.95).toFixed(0)]);
  }
  return [
    `From the last event before a cut to the first one after it, in ms, of ${cuts} cuts; the server's retry is ${RETRY_MS}.`,
    'The client adds a random time of up to a second, so that clients that were cut together come back one by one.',
    '',
    table(['', 'p50', 'p95'], rows),
  ].join('\n');
}

async function memory(meter, server, seconds, progress) {
  const rows = [];
  for (const kind of ['client', 'loop', 'unread']) {
    progress(`${seconds} s of ${EVENTS} events a second, ${kind}`);
    const before = await meter.heapMb();
    const written = server.written;
    await meter.begin(kind, `/steady?perSecond=${EVENTS}`);
    const heaps = [];
    for (let part = 0; part < 6; part += 1) {
      await new Promise((resolve) => setTimeout(resolve, (seconds * 1_000) / 6));
      heaps.push(await meter.heapMb());
    }
    const count = await meter.page.evaluate('state.count');
    await meter.end();
    rows.push([
      kind,
      count,
      server.written - written,
      before.toFixed(1),
      heaps.map((mb) => mb.toFixed(1)).join(', '),
      (await meter.heapMb()).toFixed(1),
    ]);
  }
  return [
    `The page's heap in MB after a collection: before, six times within ${seconds} s at ${EVENTS} events a second, and after.`,
    '`loop` is a `for await`; `unread` is one that takes nothing: the server is not read any further.',
    '',
    table(['', 'events in the page', 'written', 'before', 'within', 'after'], rows),
  ].join('\n');
}

/** Writes numbered events: at once, or so many a second. */
class EventServer {
  written = 0;
  #server;
  #sockets = new Set();

  constructor(script) {
    const pages = {
      '/': ['text/html', `<!doctype html><title>bench</title><script type="module">${PAGE}</script>`],
      '/client.js': ['text/javascript', script],
    };
    this.#server = createServer((req, res) => {
      const { pathname, searchParams } = new URL(req.url, 'http://host');
      if (pages[pathname]) {
        const [type, body] = pages[pathname];
        res.setHeader('Content-Type', type).end(body);
        return;
      }
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      this.#sockets.add(res);
      res.on('close', () => this.#sockets.delete(res));
      res.write(`retry: ${RETRY_MS}\n\n`);
      if (pathname === '/burst') {
        void this.#burst(res, Number(searchParams.get('events')), Number(searchParams.get('size')));
      } else {
        this.#steady(res, Number(searchParams.get('perSecond')));
      }
    });
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  close() {
    this.cut();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  cut() {
    this.#sockets.forEach((res) => res.destroy());
  }

  async #burst(res, events, size) {
    for (let n = 0; n < events && !res.closed; n += size) {
      this.#write(res, size);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #steady(res, perSecond) {
    let due = 0;
    let at = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      due += ((now - at) * perSecond) / 1_000;
      at = now;
      // Of a client that does not read the server waits for the drain, as the package does.
      if (!res.writableNeedDrain && due >= 1) {
        this.#write(res, Math.floor(due));
        due %= 1;
      }
    }, 5);
    res.on('close', () => clearInterval(timer));
  }

  #write(res, count) {
    let text = '';
    for (let n = 0; n < count; n += 1) {
      this.written += 1;
      text += `data: {"n":${this.written},"text":"an event of some eighty bytes, as they are"}\nid: e-${this.written}-00000000\n\n`;
    }
    res.write(text);
  }
}
