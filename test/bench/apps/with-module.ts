/** The routes that need the module, and what is asked of it. */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { Controller, Get, Query, Res, Sse } from '@nestjs/common';
import type { INestApplication, Type } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { topicsOf } from './publishing.js';
import type { EventData, Topics } from './publishing.js';

export { SseModule };

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
    'sse-follow': SseFollowController,
  };
}

export function tasks(app: INestApplication) {
  const sse = app.get(SseService, { strict: false });
  const sockets = new Set<Socket>();
  const server = app.getHttpServer() as EventEmitter;
  server.on('connection', (socket: Socket) => sockets.add(socket));
  const registry = sse.connections as unknown as Registry;
  return {
    send: (data: EventData, topic: number) => sse.publish(`topics.${topic}`, { data }),
    openStreams: () => sse.connections.size,
    position: () => sse.position(),
    /** Frames that many clients get, by the way that they took. */
    writes: () => ({ ...registry.writeCounts }),
    /** Fills the buffers of the clients that follow it: those of the kernel take megabytes. */
    fill: () => sse.publish('filling', { data: 'x'.repeat(500_000) }),
    /** How many clients read too slowly. */
    lagging: () => Array.from(sockets).filter(({ writableNeedDrain }) => writableNeedDrain).length,
  };
}
