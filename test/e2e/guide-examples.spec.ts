import { EventEmitter } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Controller, Get, Param, Req, RequestMethod, Res } from '@nestjs/common';
import type { DynamicModule, INestApplication, Type } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { SseModule, SseService } from 'nestjs-event-stream';
import { openSse } from 'nestjs-event-stream/testing';
import { AwayLog } from '../support/servers/away-log.js';
import { guideExamples } from '../suites/guide-blocks.js';

// Those have tests of their own, with their engine, their provider, their document or their queue.
const ELSEWHERE =
  /from '(ioredis|openai|@nestjs\/(testing|swagger|event-emitter|cqrs|bullmq)|nestjs-event-stream\/(client|redis|nats|testing|swagger))'/;
const FOLDER = fileURLToPath(new URL(`../../.tmp/readme-${process.pid}/`, import.meta.url));
const BODY = { id: 'a', messages: [{ id: '1', role: 'user', parts: [] }], prompt: 'x', text: 'x' };

async function* some(): AsyncGenerator<object> {
  yield { done: 1, of: 2 };
}

type Example = Record<string, unknown>;
let copies = 0;

/** Loads an example as it stands in a guide. Its timers are quick. */
async function load(code: string): Promise<Example> {
  copies += 1;
  mkdirSync(FOLDER, { recursive: true });
  const file = `${FOLDER}example-${copies}.ts`;
  // A class that is only declared is one whose stub is given by its name.
  const runnable = code
    .replaceAll(/^declare class (\w+) \{[\s\S]*?^\}/gm, 'class $1 {}')
    .replaceAll(/\b1_?000\)/g, '10)');
  writeFileSync(file, `${runnable}\nexport {};\n`);
  return (await import(file)) as Example;
}

@Controller('users')
class UserStreams {
  constructor(private readonly sse: SseService) {}

  @Get(':id')
  watch(@Param('id') id: string, @Req() request: object, @Res() res: object): void {
    // As a guard does.
    Object.assign(request, { user: { id, sessionId: id } });
    this.sse.connect(res);
  }
}

/** What the examples leave to the app that they stand in. */
function stubs(shop: EventEmitter): Record<string, object> {
  return {
    Shop: { orders: shop, prices: () => ({ eur: 1 }), saveReceipt: async (order: object) => order },
    Answers: { upsert: async () => undefined },
    Metrics: { gauge: () => undefined, count: () => undefined },
    Imports: { rows: some },
    Questions: { restOf: some },
  };
}

const hasMetadata = (example: unknown, key: string): example is Type<object> =>
  typeof example === 'function' && Reflect.hasMetadata(key, example);

/** An app that is made of an example. */
class ExampleApp {
  readonly shop = new EventEmitter();
  readonly away = new AwayLog();
  readonly #example: Example;
  readonly #code: string;
  #app!: INestApplication;
  #controllers: Type<object>[] = [];
  #others: object[] = [];
  #leaving = new AbortController();

  constructor(code: string, example: Example) {
    this.#code = code;
    this.#example = example;
  }

  static async start(code: string): Promise<ExampleApp> {
    const globals = { sourceOf: () => some, translate: some, userId: 'ada', rows: some() };
    Object.assign(globalThis, globals);
    const hasClasses = /^export (class|const) /m.test(code);
    const app = new ExampleApp(code, hasClasses ? await load(code) : {});
    await app.#start();
    return app;
  }

  async #start(): Promise<void> {
    const exported = Object.values(this.#example);
    this.#controllers = exported.filter((one) => hasMetadata(one, '__controller__'));
    const providers = exported.filter((one) => hasMetadata(one, '__injectable__'));
    const given = stubs(this.shop);
    const module = await Test.createTestingModule({
      imports: [SseModule.forRoot({ log: () => this.away, drain: { spreadMs: 0 } })],
      controllers: this.#controllers,
      providers,
    })
      .useMocker((token) => given[(token as Type<object>).name] ?? {})
      .compile();
    const silent = { log() {}, warn() {}, error() {}, debug() {} };
    this.#app = module.createNestApplication(new ExpressAdapter(), { logger: silent });
    module.useLogger(silent);
    this.#app.use((req: { user?: object }, _res: unknown, next: () => void) => {
      req.user = { id: 'ada', isAdmin: false };
      next();
    });
    await this.#app.listen(0, '127.0.0.1');
    const sse = this.#app.get(SseService);
    const plain = exported.filter(
      (one): one is new (service: SseService) => object =>
        typeof one === 'function' && one.length === 1 && Reflect.getMetadataKeys(one).length === 0,
    );
    this.#others = [...providers.map((one) => this.#app.get(one)), ...plain.map((one) => new one(sse))];
  }

  /** Does with the example what the world outside may do: requests, calls, the events that it listens to. */
  async use(): Promise<void> {
    this.shop.emit('changed', { id: '1' });
    this.shop.emit('paid', { id: '1' });
    // Whose end is told to an example that saves answers.
    void this.sse.runs.start('a run', some);
    const using = [...this.#controllers.flatMap((one) => this.#requests(one)), ...this.#calls()];
    if (this.#others.length === 0 && this.#controllers.length === 0) {
      using.push(this.#runAsItStands());
    }
    // What a caller awaits is the caller's.
    await Promise.allSettled(using);
    // Timers tick, and what nobody awaits has settled.
    await sleep(50);
  }

  get sse(): SseService {
    return this.#app.get(SseService);
  }

  async close(): Promise<void> {
    this.#leaving.abort();
    const closing = this.#app.close();
    await Promise.all([closing, this.use()]);
    await this.use();
  }

  #requests(controller: Type<object>): Promise<unknown>[] {
    const { port } = (this.#app.getHttpServer() as { address(): AddressInfo | null }).address() ?? {
      port: 9,
    };
    const prefix = Reflect.getMetadata('path', controller) as string;
    return Object.getOwnPropertyNames(controller.prototype).flatMap((name) => {
      const handler = (controller.prototype as Record<string, object>)[name]!;
      const path = Reflect.getMetadata('path', handler) as string | undefined;
      if (path === undefined) {
        return [];
      }
      const method = RequestMethod[(Reflect.getMetadata('method', handler) as number | undefined) ?? 0]!;
      const url = `http://127.0.0.1:${port}/${prefix}/${path}`.replaceAll(/:\w+/g, 'a');
      return this.#request(url, method === 'ALL' ? 'GET' : method);
    });
  }

  async #request(url: string, method: string): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(150), this.#leaving.signal]);
    const headers = { 'content-type': 'application/json' };
    const body = method === 'GET' ? undefined : JSON.stringify(BODY);
    const response = await fetch(url, { method, headers, body, signal });
    await response.text();
  }

  #calls(): Promise<unknown>[] {
    const skipped = /^(constructor|onModule|onApplication|beforeApplication)/;
    return this.#others.flatMap((one) =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(one))
        .filter((name) => !skipped.test(name))
        .map(async (name) => {
          const method = (one as Record<string, (...given: unknown[]) => unknown>)[name];
          await (typeof method === 'function' &&
            method.call(one, { id: '1' }, { send: async () => undefined }));
        }),
    );
  }

  /** A few lines without a class: they have an `sse`, and the connection of a request. */
  async #runAsItStands(): Promise<void> {
    const sse = this.#app.get(SseService);
    const connection = { follow: () => undefined, send: () => true, drained: async () => undefined };
    Object.assign(globalThis, {
      sse,
      connection: { ...connection, signal: new AbortController().signal },
      res: {},
    });
    await load(this.#code);
  }
}

// Jest fails a test by a rejection that nothing handles, and by an error that nothing catches, as Node ends the process.
describe('an example of the guides', () => {
  let app: ExampleApp | undefined;

  afterEach(async () => {
    if (app) {
      app.away.isAway = false;
      await app.close();
    }
  });
  afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

  const examples = guideExamples().filter(({ code }) => !ELSEWHERE.test(code) && /sse\b|Sse\w+/.test(code));
  const names = (code: string) => /export class (\w+)/.exec(code)?.[1] ?? code.trim().split('\n').at(-1)!;

  it('is found: those that publish, follow, start runs, or stream', () => {
    expect(examples.map(({ code }) => names(code))).toEqual(
      expect.arrayContaining([
        'OrdersService',
        'ShopEvents',
        'ChatController',
        'SaveAnswers',
        'LogEventStore',
      ]),
    );
  });

  it.each(examples.map(({ code, place }): [string, string, string] => [names(code), place, code]))(
    'lives while its log is away, and as its app closes: %s (%s)',
    async (_name, _place, code) => {
      app = await ExampleApp.start(code);
      await app.use();
      app.away.isAway = true;
      await app.use();
      app.away.isAway = false;
      await app.use();
      expect(await app.sse.publish('t', 'the app goes on')).toEqual(expect.any(String));
      app.away.isAway = true;
      await app.close();
      app = undefined;
    },
  );

  it('stores the events of MCP, and replays those of one stream', async () => {
    const { code } = examples.find((example) => names(example.code) === 'LogEventStore')!;
    const { LogEventStore } = (await load(code)) as {
      LogEventStore: new (sse: SseService) => {
        storeEvent(streamId: string, message: object): Promise<string>;
        replayEventsAfter(
          lastEventId: string,
          options: { send: (eventId: string, message: object) => Promise<void> },
        ): Promise<string>;
      };
    };
    app = await ExampleApp.start('export class None {}');
    const store = new LogEventStore(app.sse);
    const ids: string[] = [];
    for (const [streamId, n] of [
      ['a:b', 1],
      ['c', 2],
      ['a:b', 3],
      ['a:b', 4],
    ] as const) {
      ids.push(await store.storeEvent(streamId, { jsonrpc: '2.0', n }));
    }
    const sent: unknown[] = [];
    const replayed = await store.replayEventsAfter(ids[0]!, {
      send: async (id, message) => void sent.push([id, message]),
    });
    expect(replayed).toBe('a:b');
    expect(sent).toEqual([
      [ids[2], { jsonrpc: '2.0', n: 3 }],
      [ids[3], { jsonrpc: '2.0', n: 4 }],
    ]);
    await expect(store.replayEventsAfter('made up', { send: async () => undefined })).rejects.toThrow(
      /from of events/,
    );
  });

  it('closes the streams of a user who has logged out, and no other', async () => {
    const { code } = examples.find((example) => names(example.code) === 'Logout')!;
    const { Logout, sse } = (await load(code)) as {
      Logout: Type<{ loggedOut(sessionId: string): Promise<void> }>;
      sse: DynamicModule;
    };
    const module = await Test.createTestingModule({
      imports: [sse],
      controllers: [UserStreams],
      providers: [Logout],
    }).compile();
    const nest = module.createNestApplication(new ExpressAdapter(), { logger: false });
    try {
      const ada = await openSse(nest, '/users/ada');
      const bob = await openSse(nest, '/users/bob');
      await nest.get(Logout).loggedOut('ada');
      expect(await ada.untilEnd()).toBe('complete');
      expect(bob.ending).toBeUndefined();
      await bob.close();
    } finally {
      await nest.close();
    }
  });
});
