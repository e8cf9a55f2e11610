import { once } from 'node:events';
import { connect } from 'node:http2';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Param, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Limits } from '../../../lib/limits/index.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import { closeRawClients, RawClient } from '../../support/clients/raw-client.js';

@Controller()
class StreamsController {
  readonly connections = new Map<string, SseConnection>();
  answerPlain!: () => void;

  constructor(private readonly sse: SseService) {}

  @Get('stream/:name')
  stream(@Res() res: object, @Param('name') name: string) {
    const connection = this.sse.connect(res);
    connection.data = name;
    this.connections.set(name, connection);
    connection.send(name);
  }

  @Get('plain')
  plain() {
    return new Promise<string>((resolve) => {
      this.answerPlain = () => resolve('plain');
    });
  }
}

const createOn = async (platform: (typeof platforms)[number], options: SseModuleOptions) => {
  const app = await platform.create({
    imports: [SseModule.forRoot({ keyOf: () => 'ada', ...options })],
    controllers: [StreamsController],
  });
  return {
    app,
    sse: app.get(SseService),
    limits: app.get(Limits),
    controller: app.get(StreamsController),
    connections: app.get(StreamsController).connections,
  };
};

const pathsOf = (count: number) => Array.from({ length: count }, (_, index) => `/stream/${index}`);

describe.each(platforms.filter(({ http2 }) => !http2))('pipelined requests on $name', (platform) => {
  afterEach(async () => {
    closeRawClients();
    await closeAll();
  });

  it.each<SseModuleOptions>([{ maxConnections: 2 }, { limits: { connectionsPerKey: 2 } }])(
    'take no place while they wait for their turn, %j',
    async (options) => {
      const { app, sse, limits, connections } = await createOn(platform, options);
      const client = await RawClient.connect(baseOf(app));
      client.get(...pathsOf(11));
      await waitFor(() => sse.connections.size === 11);

      const other = await open(app, '/stream/other');
      await other.until(({ events }) => events.length === 1);

      connections.get('0')!.close();
      await client.until((received) => received.includes('data: 1\n'));
      expect(limits.reached.waitingPerSocket).toBe(0);
      expect(limits.connections.of('ada')).toBe(2);
    },
  );

  it.each<SseModuleOptions>([{ maxConnections: 1 }, { limits: { connectionsPerKey: 1 } }])(
    'are told to come back if there is no place when they have their turn, %j',
    async (options) => {
      const { app, sse, limits, controller, connections } = await createOn(platform, options);
      const client = await RawClient.connect(baseOf(app));
      client.get('/plain', '/stream/first');
      await waitFor(() => connections.has('first'));
      const other = await open(app, '/stream/other');
      await other.until(({ events }) => events.length === 1);

      controller.answerPlain();

      await client.until((received) => /retry: \d{5}\n/.test(received));
      expect(await connections.get('first')!.closed).toBe('server');
      expect([...sse.connections].map(({ data }) => data)).toEqual(['other']);
      await waitFor(() => limits.connections.of('ada') === 1);
    },
  );

  it('close their socket past waitingPerSocket', async () => {
    const { app, sse, limits } = await createOn(platform, { limits: { waitingPerSocket: 3 } });
    const other = await open(app, '/stream/other');
    const client = await RawClient.connect(baseOf(app));

    client.get(...pathsOf(4));
    await waitFor(() => sse.connections.size === 5);
    expect([client.hasEnded, limits.reached.waitingPerSocket]).toEqual([false, 0]);
    client.get('/stream/5');
    await waitFor(() => client.hasEnded);

    await waitFor(() => sse.connections.size === 1);
    expect(limits.reached.waitingPerSocket).toBe(1);
    expect(limits.connections.of('ada')).toBe(1);
    expect(other.ending).toBeUndefined();
  });

  it('close their socket, too, if they were turned away', async () => {
    const limits = { waitingPerSocket: 3, connectsPerKeyPerMinute: 1 };
    const { app, sse } = await createOn(platform, { limits });
    const client = await RawClient.connect(baseOf(app));
    client.get('/stream/0');
    await waitFor(() => sse.connections.size === 1);

    client.get(...pathsOf(4));
    await waitFor(() => client.hasEnded);
    await waitFor(() => sse.connections.size === 0);
  });
});

describe('the streams of an HTTP/2 session', () => {
  afterEach(closeAll);

  it.each<SseModuleOptions>([{ maxConnections: 2 }, { limits: { connectionsPerKey: 2 } }])(
    'are counted one by one, %j',
    async (options) => {
      const { app, sse, limits } = await createOn(
        platforms.find(({ http2 }) => http2)!,
        options,
      );
      const session = connect(baseOf(app));
      const bodies = await Promise.all(
        pathsOf(3).map(async (path) => {
          const stream = session.request({ ':path': path });
          const [data] = (await once(stream, 'data')) as [Buffer];
          return data.toString();
        }),
      );

      expect(
        bodies.map((body) => /retry: (\d+)/.exec(body)![1]).filter((retry) => retry !== '3000'),
      ).toHaveLength(1);
      expect([sse.connections.size, limits.connections.of('ada')]).toEqual([2, 2]);
      session.destroy();
      await waitFor(() => limits.connections.of('ada') === 0);
    },
  );
});
