import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, Get, Post, RequestMethod, Res, Sse } from '@nestjs/common';
import { Connection, LastEventId, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseEvent, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, from, NEVER } from 'rxjs';
import type { Observable } from 'rxjs';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import { oracles } from './oracles.js';
import type { Message, Oracle, Subscription } from './oracles.js';

/** What is hard to get through, and what a client must make of it. */
const EVENTS: [SseEvent, Omit<Message, 'lastEventId'>][] = [
  [{ data: { n: 1 } }, { type: 'message', data: '{"n":1}' }],
  [{ data: '收到第 2 条消息 🙂' }, { type: 'message', data: '收到第 2 条消息 🙂' }],
  [
    { data: 'three\nlines\n, the last empty\n' },
    { type: 'message', data: 'three\nlines\n, the last empty\n' },
  ],
  [{ data: 'a\r\nb\rc' }, { type: 'message', data: 'a\nb\nc' }],
  [{ data: ' a space before, and: a colon' }, { type: 'message', data: ' a space before, and: a colon' }],
  [
    { type: 'named', data: [1, null, '\n'] },
    { type: 'named', data: '[1,null,"\\n"]' },
  ],
  [{ data: 'x'.repeat(200_000) }, { type: 'message', data: 'x'.repeat(200_000) }],
  [
    { data: 'data: not a field\nid: 99\nretry: 1' },
    { type: 'message', data: 'data: not a field\nid: 99\nretry: 1' },
  ],
  [
    { data: 9, comment: 'skipped' },
    { type: 'message', data: '9' },
  ],
  [
    { type: 'named', data: null },
    { type: 'named', data: 'null' },
  ],
];
const SENT = EVENTS.map(([event], index) => ({ ...event, id: `e-${index + 1}` }));
const EXPECTED: Message[] = EVENTS.map(([, message], index) => ({
  ...message,
  lastEventId: `e-${index + 1}`,
}));

@Controller()
class ClientsController {
  readonly connections: SseConnection[] = [];
  /** The last event ids that clients came with. */
  readonly resumedFrom: (string | undefined)[] = [];
  readonly bodies: unknown[] = [];
  /** So many events there are for now. */
  available = SENT.length;
  hasEnded = false;

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object) {
    if (this.hasEnded) {
      this.resumedFrom.push('204');
      this.sse.stopReconnecting(res);
      return;
    }
    const connection = this.sse.connect(res);
    this.#remember(connection);
    for (const event of this.#after(connection.lastEventId)) {
      connection.send(event);
    }
  }

  @Post('connect')
  connectPost(@Res() res: object, @Body() body: unknown) {
    this.bodies.push(body);
    this.connect(res);
  }

  @Sse('sse')
  stream(@Connection() connection: SseConnection, @LastEventId() lastEventId?: string): Observable<SseEvent> {
    this.#remember(connection);
    return concat(from(this.#after(lastEventId)), NEVER);
  }

  @Sse('sse', { method: RequestMethod.POST })
  streamPost(@Connection() connection: SseConnection, @Body() body: unknown): Observable<SseEvent> {
    this.bodies.push(body);
    return this.stream(connection, connection.lastEventId);
  }

  /** As a network that fails. */
  drop() {
    for (const connection of this.#leaving()) {
      const request = connection.request as IncomingMessage & { raw?: IncomingMessage };
      (request.raw ?? request).socket.destroy();
    }
  }

  end(options?: { retryMs: number }) {
    for (const connection of this.#leaving()) {
      connection.close(options);
    }
  }

  #leaving() {
    return this.connections.splice(0);
  }

  #remember(connection: SseConnection) {
    this.connections.push(connection);
    this.resumedFrom.push(connection.lastEventId);
  }

  #after(id: string | undefined) {
    const seen = SENT.findIndex((event) => event.id === id) + 1;
    return SENT.slice(seen, this.available);
  }
}

const styles = ['connect()', '@Sse()'] as const;
const rows = platforms
  .filter(({ http2 }) => !http2)
  .flatMap((platform) => styles.map((style) => ({ platform, style, name: platform.name })));

describe.each(rows)('a stream of $style on $name', ({ platform, style }) => {
  const subscriptions: Subscription[] = [];

  afterEach(async () => {
    for (const subscription of subscriptions.splice(0)) {
      subscription.close();
    }
    await closeAll();
  });

  const create = async (options: SseModuleOptions = {}) => {
    const app = await platform.create({
      imports: [SseModule.forRoot({ retryMs: 30, heartbeatMs: 20, ...options })],
      controllers: [ClientsController],
    });
    const controller = app.get(ClientsController);
    const subscribe = (oracle: Oracle, init?: { method: string; body: string }) => {
      const subscription = oracle.subscribe(
        `${baseOf(app)}/${style === '@Sse()' ? 'sse' : 'connect'}`,
        ['named'],
        init,
      );
      subscriptions.push(subscription);
      return subscription;
    };
    return { controller, subscribe };
  };

  const received = async ({ messages }: Subscription, count: number) => {
    await waitFor(() => messages.length >= count, {
      timeoutMs: 15_000,
      describe: () => `${count} messages, having received ${JSON.stringify(messages).slice(0, 2_000)}`,
    });
  };

  it.each(oracles)('gives $name ten events, equal and in order', async (oracle) => {
    const { subscribe } = await create();

    const subscription = subscribe(oracle);

    await received(subscription, EXPECTED.length);
    expect(subscription.messages).toEqual(EXPECTED);
  });

  it.each(oracles.filter(({ posts }) => posts))('answers a POST of $name with ten events', async (oracle) => {
    const { controller, subscribe } = await create();

    const subscription = subscribe(oracle, { method: 'POST', body: '{"question":"?"}' });

    await received(subscription, EXPECTED.length);
    expect(subscription.messages).toEqual(EXPECTED);
    expect(controller.bodies).toEqual([{ question: '?' }]);
  });

  it.each(oracles)('lets $name resume after a drop where it left off', async (oracle) => {
    const { controller, subscribe } = await create();
    controller.available = 5;
    const subscription = subscribe(oracle);
    await received(subscription, 5);

    controller.available = 10;
    controller.drop();

    await received(subscription, EXPECTED.length);
    expect(subscription.messages).toEqual(EXPECTED);
    expect(controller.resumedFrom).toEqual([undefined, 'e-5']);
  });

  it.each(oracles.filter(({ reconnectsAfterEnd }) => reconnectsAfterEnd))(
    'lets $name resume after an end in order',
    async (oracle) => {
      const { controller, subscribe } = await create();
      controller.available = 5;
      const subscription = subscribe(oracle);
      await received(subscription, 5);

      controller.available = 10;
      controller.end();

      await received(subscription, 10);
      expect(subscription.messages).toEqual(EXPECTED);
      expect(controller.resumedFrom).toEqual([undefined, 'e-5']);
    },
  );

  it.each(
    oracles.filter(
      ({ reconnectsAfterEnd, takesRetryAtBlankLine }) => reconnectsAfterEnd && !takesRetryAtBlankLine,
    ),
  )('has $name come back when close() says, and not when the stream said at first', async (oracle) => {
    const { controller, subscribe } = await create({ retryMs: 600_000 });
    const subscription = subscribe(oracle);
    await received(subscription, 10);

    controller.end({ retryMs: 30 });

    await waitFor(() => controller.resumedFrom.length === 2, { timeoutMs: 15_000 });
    expect(subscription.messages).toEqual(EXPECTED);
  });

  it.each(oracles.filter(({ takesRetryAtBlankLine }) => takesRetryAtBlankLine))(
    'has $name come back when the stream said at first, for it misses what close() says',
    async (oracle) => {
      const { controller, subscribe } = await create({ retryMs: 30 });
      const subscription = subscribe(oracle);
      await received(subscription, 10);

      controller.end({ retryMs: 600_000 });

      await waitFor(() => controller.resumedFrom.length === 2, { timeoutMs: 15_000 });
      expect(subscription.messages).toEqual(EXPECTED);
    },
  );

  it.each(oracles.filter(({ reconnectsAfterEnd }) => reconnectsAfterEnd))(
    'does not stop $name for good where it is turned away',
    async (oracle) => {
      const { subscribe } = await create({ maxConnections: 1 });
      const first = subscribe(oracle);
      await received(first, 10);
      const second = subscribe(oracle);
      await waitFor(() => second.hasStopped() || second.ends() > 0, { timeoutMs: 15_000 });

      expect(second.hasStopped()).toBe(false);
      expect(second.messages).toEqual([]);
    },
  );

  it.each(oracles.filter(({ reconnectsAfterEnd }) => !reconnectsAfterEnd))(
    'is over for $name after an end in order',
    async (oracle) => {
      const { controller, subscribe } = await create();
      const subscription = subscribe(oracle);
      await received(subscription, 10);

      controller.end();

      await waitFor(() => subscription.hasStopped());
      expect(controller.resumedFrom).toHaveLength(1);
    },
  );
});

describe.each(platforms.filter(({ http2 }) => !http2))(
  'what is no event of connect() on $name',
  (platform) => {
    const subscriptions: Subscription[] = [];

    afterEach(async () => {
      for (const subscription of subscriptions.splice(0)) {
        subscription.close();
      }
      await closeAll();
    });

    const create = async (oracle: Oracle) => {
      const app = await platform.create({
        imports: [SseModule.forRoot({ retryMs: 30, heartbeatMs: 20 })],
        controllers: [ClientsController],
      });
      const controller = app.get(ClientsController);
      const subscription = oracle.subscribe(`${baseOf(app)}/connect`, ['named']);
      subscriptions.push(subscription);
      return { app, controller, subscription };
    };

    it.each(oracles)('gives $name no message for retry, heartbeats and comments', async (oracle) => {
      const { app, controller, subscription } = await create(oracle);
      await waitFor(() => controller.connections.length === 1 && subscription.messages.length === 10);
      const [connection] = controller.connections;

      connection!.comment('one\ntwo');
      connection!.send({ comment: 'an event that is none' });
      // No client tells of comments: by the heartbeats that this one sees, the other has had some as well.
      const witness = await open(app, '/connect');
      await witness.until(({ comments }) => comments.filter((text) => text === '').length > 4);
      connection!.send({ data: 'after', id: 'e-11' });

      await waitFor(() => subscription.messages.length > 10);
      expect(subscription.messages.slice(10)).toEqual([
        { type: 'message', data: 'after', lastEventId: 'e-11' },
      ]);
    });

    it.each(oracles.filter(({ stopsAt204 }) => stopsAt204))(
      'keeps $name away with stopReconnecting()',
      async (oracle) => {
        const { controller, subscription } = await create(oracle);
        await waitFor(() => subscription.messages.length === 10);

        controller.hasEnded = true;
        controller.end();

        await waitFor(() => subscription.hasStopped());
        expect(controller.resumedFrom).toEqual([undefined, '204']);
        expect(subscription.messages).toHaveLength(10);
      },
    );

    it.each(oracles.filter(({ stopsAt204 }) => !stopsAt204))(
      'cannot keep $name away with stopReconnecting(), after a drop',
      async (oracle) => {
        const { controller, subscription } = await create(oracle);
        await waitFor(() => subscription.messages.length === 10);

        controller.hasEnded = true;
        controller.drop();

        await waitFor(() => controller.resumedFrom.length > 3);
        expect(controller.resumedFrom.slice(0, 4)).toEqual([undefined, '204', '204', '204']);
        expect(subscription.messages).toHaveLength(10);
      },
    );
  },
);
