import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { getQueueToken, BullModule } from '@nestjs/bullmq';
import type { INestApplicationContext, Type } from '@nestjs/common';
import { AggregateRoot, CqrsModule, EventPublisher } from '@nestjs/cqrs';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Queue } from 'bullmq';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { lastValueFrom } from 'rxjs';
import { guideModule } from '../suites/guide-blocks.js';
import { AwayLog } from '../support/servers/away-log.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

interface Recipes {
  EmittedOrders: Type<object>;
  OrderPaid: new (orderId: string, total: number) => object;
  PublishPaidOrders: Type<object>;
  VideosProcessor: Type<object>;
}

const DEADLINE = { timeoutMs: 20_000 };
const FOLDER = fileURLToPath(new URL(`../../.tmp/sources-${process.pid}/`, import.meta.url));

let recipes: Recipes;
let redis: RedisServer;
let app: INestApplicationContext;
let log: AwayLog;
let received: [topic: string, type: string | undefined, data: unknown][];
let errors: string[];

/** The recipes as they stand in the guide. */
async function load(): Promise<Recipes> {
  mkdirSync(FOLDER, { recursive: true });
  const modules = ['class EmittedOrders', 'class PublishPaidOrders', 'class VideosProcessor'].map(
    async (text, index) => {
      const file = `${FOLDER}recipe-${index}.ts`;
      writeFileSync(file, guideModule(text));
      return (await import(file)) as Partial<Recipes>;
    },
  );
  return Object.assign({}, ...(await Promise.all(modules))) as Recipes;
}

beforeAll(async () => {
  [recipes, redis] = await Promise.all([load(), startRedis()]);
});

afterAll(async () => {
  rmSync(FOLDER, { recursive: true, force: true });
  await redis.stop();
});

beforeEach(async () => {
  log = new AwayLog();
  received = [];
  errors = [];
  const { EmittedOrders, PublishPaidOrders, VideosProcessor } = recipes;
  const module = await Test.createTestingModule({
    imports: [
      SseModule.forRoot({ log: () => log }),
      EventEmitterModule.forRoot(),
      CqrsModule.forRoot(),
      BullModule.forRoot({ connection: { host: '127.0.0.1', port: redis.port } }),
      BullModule.registerQueue({ name: 'videos' }),
    ],
    providers: [EmittedOrders, PublishPaidOrders, VideosProcessor],
  }).compile();
  const error = (message: unknown) => void errors.push(String(message));
  module.useLogger({ log() {}, warn() {}, debug() {}, error });
  app = await module.init();
  app
    .get(SseService)
    .events('>')
    .subscribe(({ topic, event: { type, data } }) => received.push([topic, type, data]));
});

afterEach(async () => {
  log.isAway = false;
  await app.close();
});

/** An order of an app with CQRS. */
class PaidOrder extends AggregateRoot {
  pay(): void {
    this.apply(new recipes.OrderPaid('7', 5));
  }
}

function payOrder(): void {
  const order = app.get(EventPublisher).mergeObjectContext(new PaidOrder());
  order.pay();
  order.commit();
}

describe("a recipe of the guide for Nest's own events", () => {
  it('publishes what is emitted, before emitAsync() resolves', async () => {
    await app.get(EventEmitter2).emitAsync('order.changed', { id: '7' });
    const inLog = await lastValueFrom(app.get(SseService).events('orders.7', { to: 'head' }));
    expect(inLog.event).toMatchObject({ type: 'changed', data: { id: '7' } });
  });

  it('publishes what an aggregate commits', async () => {
    payOrder();
    await waitFor(() => received.length > 0, DEADLINE);
    expect(received).toEqual([['orders.7', 'paid', { total: 5 }]]);
  });

  it('publishes the progress of a job, in order, and its end', async () => {
    const queue = app.get<Queue>(getQueueToken('videos'));
    await queue.add('render', { seconds: 3 }, { jobId: 'video-7' });
    await waitFor(() => received.length >= 4, DEADLINE);
    expect(received).toEqual([
      ...[1, 2, 3].map((second) => ['jobs.video-7', 'progress', { second, of: 3 }]),
      ['jobs.video-7', 'completed', { url: '/videos/video-7' }],
    ]);
  });

  it('leaves an error in the log, and the app as it is, while its log is away', async () => {
    log.isAway = true;
    await app.get(EventEmitter2).emitAsync('order.changed', { id: '7' });
    payOrder();
    await waitFor(() => errors.length >= 2, DEADLINE);
    log.isAway = false;
    app.get(EventEmitter2).emit('order.changed', { id: '8' });
    await waitFor(() => received.length > 0, DEADLINE);
    expect(received).toEqual([['orders.8', 'changed', { id: '8' }]]);
  });
});
