import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { redis } from 'nestjs-event-stream/redis';
import { createInspectorApp } from '../e2e/inspector/inspector-app.js';
import type { InspectorApp } from '../e2e/inspector/inspector-app.js';
import type { ConnectionRow, KeyRow } from '../../lib/inspector/protocol.js';
import { closeAll, platforms } from '../support/apps/platforms.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

const [express, fastify] = platforms;
let server: RedisServer;
let one: InspectorApp;
let other: InspectorApp;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe('the inspectors of two instances on Redis', () => {
  beforeAll(async () => {
    const options = { log: redis({ url: server.url }) };
    [one, other] = await Promise.all([
      createInspectorApp(express!, options),
      createInspectorApp(fastify!, options),
    ]);
  });
  afterAll(closeAll);

  it('show the connections of both, close one on the other, and revoke a key on both', async () => {
    const here = await one.follow('orders.1', 'anna');
    const there = await other.follow('orders.2', 'anna');
    const { rows, total } = await one.list<ConnectionRow>({ list: 'connections', filter: 'orders.' }, 2);
    expect([total, new Set(rows.flatMap(({ follows }) => follows))]).toEqual([
      2,
      new Set(['orders.1', 'orders.2']),
    ]);
    // The instance that serves the page tells first.
    await one.list<KeyRow>({ list: 'keys', filter: 'anna' }, 1, ([row]) => row!.connections === 2);

    const { instance, id } = rows.find(({ follows }) => follows[0] === 'orders.2')!;
    const closing = await one.post('/close', { instance, connection: id });
    expect(closing).toEqual({ status: 200, answer: { outcome: 'closed' } });
    await there.untilEnd();

    const returned = await other.follow('orders.2', 'anna');
    await one.post('/revoke', { key: 'anna' });
    await Promise.all([here.untilEnd(), returned.untilEnd()]);
  });

  it('show how both stand', async () => {
    const stream = await one.view();
    const { instances } = await one.until(stream, (update) => update.instances.length === 2);
    expect(instances.map(({ isHere, log }) => [isHere, log.state])).toEqual([
      [true, 'ready'],
      [false, 'ready'],
    ]);
    await stream.close();
  });
});
