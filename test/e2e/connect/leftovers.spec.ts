import { Agent } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import type { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { OpenSseOptions } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';

interface RawResponse extends EventEmitter {
  readonly stream?: EventEmitter & { readonly session: EventEmitter };
  readonly socket: EventEmitter;
}

interface Answered {
  readonly raw: RawResponse;
  /** Its listeners before it was connected. */
  readonly before: Record<string, number>;
}

@Controller()
class LeftoversController {
  /** Listeners of the connection to the client, at the beginning of each request. */
  readonly listeners: Record<string, number>[] = [];
  readonly responses: Answered[] = [];
  readonly connections: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('stream')
  stream(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#connect(res);
  }

  @Get('ending')
  ending(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#connect(res).send('only');
    this.connections.pop()!.close();
  }

  @Post('ending')
  endingPost(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.ending(res);
  }

  @Get('streaming')
  async streaming(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#remember(res.raw ?? res);
    await this.sse.stream(res, async function* () {
      yield 'only';
    });
  }

  #connect(res: RawResponse & { raw?: RawResponse }): SseConnection {
    this.#remember(res.raw ?? res);
    const connection = this.sse.connect(res);
    // They are made when they are asked for.
    void connection.signal;
    void connection.closed;
    this.connections.push(connection);
    return connection;
  }

  #remember(raw: RawResponse) {
    this.listeners.push(listenersOf(raw.stream ? raw.stream.session : raw.socket));
    this.responses.push({ raw, before: listenersOf(raw) });
  }
}

function listenersOf(emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
}

/** What a response has more of than at its beginning. The framework removes some of its own. */
function addedTo({ raw, before }: Answered): string[] {
  return Object.entries(listenersOf(raw)).flatMap(([name, count]) =>
    Array.from({ length: Math.max(0, count - (before[name] ?? 0)) }, () => name),
  );
}

/** One at most, for a write of the app after the end, which would end the process unheard. It goes with the response. */
const NOTHING_OR_ONE_FOR_STRAY_WRITES = [[], ['error']];

async function expectNothingLeft(app: INestApplication): Promise<void> {
  const { connections } = app.get(SseService);
  const { wheel } = app.get(ConnectionRegistry);
  await waitFor(() => connections.size === 0 && wheel.size === 0, {
    describe: () => `no connection and no deadline to be left, but ${connections.size} and ${wheel.size} are`,
  });
}

describe.each(platforms)('what connections leave behind on $name', (platform) => {
  let letGo: () => void;

  afterEach(async () => {
    letGo?.();
    await closeAll();
  });

  const create = async () => {
    const app = await platform.create({ imports: [SseModule.forRoot()], controllers: [LeftoversController] });
    return { app, controller: app.get(LeftoversController) };
  };

  /** One connection to the app for all requests. */
  const oneConnection = (app: INestApplication): OpenSseOptions => {
    if (platform.http2) {
      const http2Session = connectHttp2(baseOf(app));
      letGo = () => http2Session.destroy();
      return { http2Session };
    }
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    letGo = () => agent.destroy();
    return { agent };
  };

  it.each([
    [1_000, 'GET', '/ending'],
    [200, 'POST', '/ending'],
    [200, 'GET', '/streaming'],
  ])(
    'is nothing after %d streams on one connection that is kept alive, %s %s',
    async (count, method, path) => {
      const { app, controller } = await create();
      const options = { method, ...oneConnection(app) };

      for (let n = 0; n < count; n += 1) {
        const stream = await open(app, path, options);
        await stream.body();
      }

      await expectNothingLeft(app);
      const { listeners, responses } = controller;
      expect(listeners).toHaveLength(count);
      // The first request finds the connection before Node has set it up for keeping.
      expect(listeners.at(-1)).toEqual(listeners[1]);
      for (const response of responses) {
        expect(NOTHING_OR_ONE_FOR_STRAY_WRITES).toContainEqual(addedTo(response));
      }
    },
    180_000,
  );

  it('is nothing after a hundred clients have left at once', async () => {
    const { app, controller } = await create();
    const streams = await Promise.all(Array.from({ length: 100 }, () => open(app, '/stream')));
    expect(controller.connections).toHaveLength(100);

    await Promise.all(streams.map((stream, n) => stream.close({ reset: n % 2 === 0 })));

    await expectNothingLeft(app);
    for (const response of controller.responses) {
      expect(NOTHING_OR_ONE_FOR_STRAY_WRITES).toContainEqual(addedTo(response));
    }
  });
});
