/** The routes that need the module, and what is asked of it. */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Controller, Get, Query, Res, Sse } from '@nestjs/common';
import type { DynamicModule, INestApplication, Type } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import type { NatsLogOptions } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import type { PostgresLogOptions } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import type { RedisLogOptions } from 'nestjs-event-stream/redis';
import { delayOf, eventData, publishAll, topicsOf } from './publishing.js';
import type { EventData, Topics } from './publishing.js';

/** The module as it is measured: with a log in memory, on Redis, on NATS, or on PostgreSQL. */
export function moduleWith(options: object | undefined, on: Logs & { hasKeys?: boolean }): DynamicModule {
  const log = logOf(on);
  return SseModule.forRoot({ ...options, ...(log && { log }), ...(on.hasKeys && { keyOf }) });
}

interface Logs {
  redis?: RedisLogOptions;
  nats?: NatsLogOptions;
  postgres?: PostgresLogOptions;
}

function logOf(on: Logs) {
  if (on.redis) {
    return redis(on.redis);
  }
  return on.nats ? nats(on.nats) : on.postgres && postgres(on.postgres);
}

/** Of every hundredth client the same two: a user, and a tenant. */
function keyOf(request: unknown): string[] {
  const { client } = (request as { query: { client: string } }).query;
  return [`user:${Number(client) % 100}`, 'tenant:1'];
}

/** What no user sees, and so no public name leads to. */
interface Registry {
  readonly writeCounts: { direct: number; throughResponse: number };
}

export function controllers(layout: Topics): Record<string, Type<unknown>> {
  const patterns = (client: string) =>
    client === 'filled'
      ? ['topics.0', 'filling']
      : topicsOf(Number(client), layout).map((topic) => `topics.${topic}`);

  @Controller()
  class ConnectController {
    constructor(private readonly sse: SseService) {}

    @Get('connect')
    connect(@Res() res: object) {
      this.sse.connect(res);
    }
  }

  @Controller()
  class ConnectFollowController {
    constructor(private readonly sse: SseService) {}

    @Get('connect-follow')
    follow(@Res() res: object, @Query('client') client = '0') {
      this.sse.connect(res).follow(patterns(client));
    }
  }

  /** Each client is a member of one room. */
  @Controller()
  class MemberController {
    constructor(private readonly sse: SseService) {}

    @Get('member')
    follow(@Res() res: object, @Query('client') id: string) {
      this.sse.connect(res).follow('topics.0', { presence: { id, data: { name: `user ${id}` } } });
    }
  }

  @Controller()
  class SseFollowController {
    @Sse('sse-follow')
    follow(@Connection() connection: SseConnection, @Query('client') client = '0') {
      return connection.follow(patterns(client));
    }
  }

  return {
    connect: ConnectController,
    'connect-follow': ConnectFollowController,
    member: MemberController,
    'sse-follow': SseFollowController,
  };
}

interface PublishMany {
  events: number;
  bytes: number;
  returning?: { clients: number; first: number; step: number };
}

export function tasks(app: INestApplication, layout: Topics) {
  const sse = app.get(SseService, { strict: false });
  const sockets = new Set<Socket>();
  const server = app.getHttpServer() as EventEmitter;
  server.on('connection', (socket: Socket) => sockets.add(socket));
  const registry = sse.connections as unknown as Registry;
  const delays: number[] = [];
  return {
    send: (data: object, topic: number) => sse.publish(`topics.${topic}`, { data }),
    openStreams: () => sse.connections.size,
    position: () => sse.position(),
    /** Whether what was published elsewhere has come. */
    reaches: async ({ position: wanted }: { position: string }) => {
      while ((await sse.position()) !== wanted) {
        await pause(10);
      }
    },
    /**
     * Publishes much, for clients that come back after it: the first one with the id of the event `first`, the next one
     * with that of `step` later. Each follows one topic.
     */
    publishMany: async ({ events, bytes, returning }: PublishMany) => {
      const positions = await publishAll(events, (n) =>
        sse.publish(`topics.${n % layout.topics}`, { data: eventData(n, bytes) }),
      );
      const { clients = 0, first = 0, step = 1 } = returning ?? {};
      const places = Array.from({ length: clients }, (_, client) => Math.floor(first + client * step));
      const missed = places.map((place, client) => countAfter(place, client % layout.topics, events));
      return {
        positions: places.map((place) => positions[place]),
        missed: missed.reduce((sum, count) => sum + count, 0),
      };

      /** Events of a topic after a place. */
      function countAfter(place: number, topic: number, count: number): number {
        const upTo = (end: number) => Math.floor((end - topic + layout.topics) / layout.topics);
        return upTo(count - 1) - upTo(place);
      }
    },
    /** From here on the delays are kept of what comes to `sse.events()` of a topic. */
    listen: ({ topic }: { topic: number }) => {
      sse.events(`topics.${topic}`).subscribe(({ event }) => delays.push(delayOf(event.data as EventData)));
    },
    takeDelays: () => delays.splice(0),
    /** Frames that many clients get, by the way that they took. */
    writes: () => ({ ...registry.writeCounts }),
    /** Fills the buffers of the clients that follow it: those of the kernel take megabytes. */
    fill: () => sse.publish('filling', { data: 'x'.repeat(500_000) }),
    /** How many clients read too slowly. */
    lagging: () => Array.from(sockets).filter(({ writableNeedDrain }) => writableNeedDrain).length,
  };
}
