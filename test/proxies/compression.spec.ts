import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Param, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { numberedData } from '../support/apps/numbered-events.js';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Random } from '../support/random.js';
import { startHaproxy } from '../support/servers/haproxy.js';
import { startNginx } from '../support/servers/nginx.js';
import type { ProxyServer } from '../support/servers/proxy-server.js';
import { guideBlock } from '../suites/guide-blocks.js';

const WAIT = { timeoutMs: 20_000 };
const KINDS = ['events', 'stream', 'none'] as const;
const ONE_BY_ONE = 20;
const WHILE_CUT = 40;
const CUTS = 12;
// Longer than the head of an answer: a proxy would answer in the place of a server that does not send all of it.
const HEAD_BYTES = 600;

@Controller()
class OrdersController {
  constructor(private readonly sse: SseService) {}

  @Get('page')
  page(): string {
    return 'a page '.repeat(500);
  }

  @Get('orders/:kind')
  orders(@Param('kind') kind: (typeof KINDS)[number], @Res() res: object): void {
    this.sse.connect(res, { compression: kind === 'none' ? false : kind }).follow('orders');
  }
}

/** A client that takes gzip, and comes back when its stream has ended, as EventSource does. */
class Reader {
  readonly data: string[] = [];
  readonly encodings = new Set<string | undefined>();
  readonly #left = new AbortController();
  readonly #done: Promise<void>;
  #lastId: string | undefined;

  constructor(url: string, path: string, http2: boolean) {
    this.#done = this.#read(url, path, http2);
  }

  /** Waits until so many events have come. */
  until(count: number): Promise<boolean> {
    return waitFor(() => this.data.length >= count, {
      ...WAIT,
      describe: () => `${count} events, but there are ${this.data.length}`,
    });
  }

  leave(): Promise<void> {
    this.#left.abort();
    return this.#done;
  }

  async #read(url: string, path: string, http2: boolean): Promise<void> {
    while (!this.#left.signal.aborted) {
      // A stream that is cut throws: what has come before counts.
      await this.#readOnce(url, path, http2).catch(() => undefined);
    }
  }

  async #readOnce(url: string, path: string, http2: boolean): Promise<void> {
    const stream = await openSse(url, path, {
      ...WAIT,
      http2,
      headers: { 'accept-encoding': 'gzip' },
      lastEventId: this.#lastId ?? '',
      signal: this.#left.signal,
    });
    try {
      for await (const { type, data, id } of stream) {
        this.#lastId = id ?? this.#lastId;
        this.encodings.add(stream.headers['content-encoding']);
        if (type !== 'cursor') {
          this.data.push(type === 'message' ? data : type);
        }
      }
    } finally {
      await stream.close();
    }
  }
}

/** A proxy in front of the origin, with and without a compression of its own. */
const starts = {
  nginx: (originPort: number, http2: boolean, compresses: boolean) =>
    startNginx({
      block: guideBlock('nginx'),
      originPort,
      http2,
      http: compresses ? 'gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0;' : '',
    }),
  HAProxy: (originPort: number, http2: boolean, compresses: boolean) =>
    startHaproxy({
      block: guideBlock('haproxy'),
      originPort,
      http2,
      backend: compresses
        ? '    compression algo gzip\n    compression type text/html text/event-stream'
        : '',
    }),
};

const table = (['nginx', 'HAProxy'] as const).flatMap((name) =>
  [false, true].flatMap((http2) =>
    [false, true].map((compresses) => ({
      name,
      http2,
      compresses,
      title: `${name} on HTTP/${http2 ? '2' : '1.1'}${compresses ? ', which compresses as well' : ''}`,
    })),
  ),
);

describe.each(table)('compressed streams behind $title', ({ name, http2, compresses }) => {
  let app: INestApplication;
  let network: FaultProxy;
  let proxy: ProxyServer;
  let nextCut: (() => number) | undefined;
  let readers: Reader[] = [];

  beforeAll(async () => {
    app = await platforms[0]!.create({
      imports: [SseModule.forRoot({ compression: 'events' })],
      controllers: [OrdersController],
    });
    // Between the proxy and the app.
    network = await FaultProxy.start(Number(new URL(baseOf(app)).port), {
      cutAfter: () => ({ bytes: nextCut?.() ?? Infinity, byReset: false }),
    });
    proxy = await starts[name](network.port, http2, compresses);
  });
  afterAll(async () => {
    await Promise.all(readers.map((reader) => reader.leave()));
    await proxy?.stop();
    await network?.stop();
    await closeAll();
  });

  it('come event by event, once compressed, and whole when they are cut at random bytes', async () => {
    const sse = app.get(SseService);
    readers = KINDS.map((kind) => new Reader(proxy.url, `/orders/${kind}`, http2));
    await waitFor(() => sse.connections.size === KINDS.length, WAIT);
    const publish = (n: number) => sse.publish('orders', { data: numberedData(n) });
    for (let n = 0; n < ONE_BY_ONE; n += 1) {
      await publish(n);
      // Before the next event is there.
      await Promise.all(readers.map((reader) => reader.until(n + 1)));
    }

    const random = new Random(11);
    nextCut = () => (network.cuts < CUTS ? HEAD_BYTES + random.between(0, 3_000) : Infinity);
    network.drop();
    for (let n = ONE_BY_ONE; n < ONE_BY_ONE + WHILE_CUT; n += 1) {
      await publish(n);
    }
    await Promise.all(readers.map((reader) => reader.until(ONE_BY_ONE + WHILE_CUT)));

    const all = Array.from({ length: ONE_BY_ONE + WHILE_CUT }, (_, n) => JSON.stringify(numberedData(n)));
    readers.forEach(({ data }) => expect(data).toEqual(all));
    expect(readers.map(({ encodings }) => [...encodings])).toEqual([
      ['gzip'],
      ['gzip'],
      // HAProxy leaves alone what is no-transform.
      [compresses && name === 'nginx' ? 'gzip' : undefined],
    ]);
    expect(network.cuts).toBeGreaterThan(0);
  });

  if (!http2) {
    it(`are its own affair: pages are ${compresses ? '' : 'not '}compressed by the proxy`, async () => {
      const page = await fetch(`${proxy.url}/page`);
      expect(page.headers.get('content-encoding')).toBe(compresses ? 'gzip' : null);
      await page.body?.cancel();
    });
  }
});
