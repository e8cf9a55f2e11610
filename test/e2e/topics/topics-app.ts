import { Controller, Get, Post, RequestMethod, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import type { Follow, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { Topics } from '../../../lib/topics/index.js';
import { platforms } from '../../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

/** What a test has its clients follow. */
type Handle = (connection: SseConnection) => Follow;

/** A route of each endpoint style that follows what the test says. */
@Controller()
class TopicsController {
  readonly connections: SseConnection[] = [];
  handle: Handle = (connection) => connection.follow('>');

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object): void {
    this.#follow(this.sse.connect(res));
  }

  @Post('connect')
  connectPost(@Res() res: object): void {
    this.connect(res);
  }

  @Sse('sse')
  stream(@Connection() connection: SseConnection): Follow {
    return this.#follow(connection);
  }

  @Sse('sse', { method: RequestMethod.POST })
  streamPost(@Connection() connection: SseConnection): Follow {
    return this.#follow(connection);
  }

  #follow(connection: SseConnection): Follow {
    this.connections.push(connection);
    return this.handle(connection);
  }
}

/** An app whose clients follow topics. */
export interface TopicsApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  readonly connections: SseConnection[];
  /** How clients began, for whoever must know the path that was taken. */
  readonly counts: Topics['counts'];
  readonly registry: ConnectionRegistry;
  readonly topics: Topics;
  /** Of clients that come from now on. */
  follow(handle: Handle): void;
  /** Publishes data to a topic, one after the other. */
  publish(topic: string, ...data: unknown[]): Promise<string[]>;
}

export async function createTopicsApp(
  platform: Platform,
  options: SseModuleOptions = {},
  createOptions: CreateOptions = {},
): Promise<TopicsApp> {
  const app = await platform.create(
    { imports: [SseModule.forRoot({ heartbeatMs: false, ...options })], controllers: [TopicsController] },
    createOptions,
  );
  const controller = app.get(TopicsController);
  const sse = app.get(SseService);
  const topics = app.get(Topics, { strict: false });
  return {
    app,
    sse,
    topics,
    registry: app.get(ConnectionRegistry, { strict: false }),
    connections: controller.connections,
    counts: topics.counts,
    follow: (handle) => (controller.handle = handle),
    publish: async (topic, ...data) => {
      const positions: string[] = [];
      for (const each of data) {
        positions.push(await sse.publish(topic, { data: each }));
      }
      return positions;
    },
  };
}

/** Every platform with both endpoint styles, for `describe.each(rows)('… $style on $platform.name', …)`. */
export const rows = platforms.flatMap((platform) => [
  { platform, style: 'connect()', path: '/connect' },
  { platform, style: '@Sse()', path: '/sse' },
]);

/** Waits until nothing of a client is left in the app. */
export async function nothingLeft({ registry, topics }: TopicsApp): Promise<void> {
  const left = () => [registry.size, registry.wheel.size, topics.followers];
  await waitFor(() => left().every((count) => count === 0), {
    timeoutMs: 15_000,
    describe: () => `no connections, deadlines and followers, but there are ${left().join(', ')}`,
  });
}

export function summary(stream: SseTestStream): string[] {
  return stream.events.map(({ type, data }) => `${type} ${data}`);
}
