/** An instance with everything on: what the soak loads, and asks how it is. */
import 'reflect-metadata';
import { openSync, readdirSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Module,
  Param,
  Post,
  Query,
  Res,
  Sse,
  UseGuards,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { metrics } from '@opentelemetry/api';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { SpanProcessor } from '@opentelemetry/sdk-trace-node';
import {
  Connection,
  memory,
  SseConnection,
  SseModule,
  SseService,
  SseTicketGuard,
} from 'nestjs-event-stream';
import type { FollowOptions } from 'nestjs-event-stream';
import { SseOpenTelemetryModule } from 'nestjs-event-stream/opentelemetry';
import { SsePrometheusModule } from 'nestjs-event-stream/prometheus';
import { redis } from 'nestjs-event-stream/redis';
import { SseInspectorModule } from 'nestjs-event-stream/inspector';
import { postgres } from 'nestjs-event-stream/postgres';
import { SseHealthIndicator } from 'nestjs-event-stream/terminus';
import { Registry } from 'prom-client';
import { interval, lastValueFrom, map, toArray } from 'rxjs';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { Limits } from '../../../lib/limits/index.js';
import type { Sample } from './sample.js';

/** What an instance is told when it starts. */
export interface SoakApp {
  readonly platform: 'express' | 'fastify';
  readonly log: 'memory' | 'redis' | 'postgres';
  /** Of the Redis or the PostgreSQL that holds the log. */
  readonly url?: string;
  /** Leaks something with each client that follows: what the soak must find. */
  readonly leaks?: boolean;
}

const config = JSON.parse(process.argv[2]!) as SoakApp;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const registry = new Registry();
class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {
    return;
  }

  protected override async onShutdown(): Promise<void> {
    return;
  }
}
const reader = new Reader();
/** Spans are made, and dropped when they end. */
const dropping: SpanProcessor = {
  onStart: () => undefined,
  onEnd: () => undefined,
  forceFlush: async () => undefined,
  shutdown: async () => undefined,
};
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
new NodeTracerProvider({ spanProcessors: [dropping] }).register();

/** What a planted leak holds. */
const leaked: { timer: NodeJS.Timeout; descriptor: number; numbers: number[] }[] = [];

/** Four of each, and a megabyte: a short soak is to find them among the sockets that come and go. */
function leak(): void {
  // Node would warn of them, and the soak is to find them by itself.
  process.setMaxListeners(0);
  for (let n = 0; n < 4; n += 1) {
    process.on('leaked' as never, () => undefined);
    leaked.push({
      timer: setInterval(() => undefined, 3_600_000),
      descriptor: openSync('/dev/null', 'r'),
      numbers: Array.from({ length: 30_000 }, (_, index) => index + 0.5),
    });
  }
}

const FOLLOW_OPTIONS = {
  plain: {},
  snapshot: { snapshot: async () => ({ type: 'state', data: { state: 'x'.repeat(500) } }) },
  latest: { latest: ({ topic }) => topic },
  envelope: { envelope: true },
} satisfies Record<string, FollowOptions>;

@Controller()
class SoakController {
  constructor(
    private readonly sse: SseService,
    private readonly health: HealthCheckService,
    private readonly indicator: SseHealthIndicator,
  ) {}

  @Get('follow')
  follow(
    @Res() res: object,
    @Query('patterns') patterns: string,
    @Query('how') how: keyof typeof FOLLOW_OPTIONS = 'plain',
  ): void {
    if (config.leaks) {
      leak();
    }
    this.sse.connect(res).follow(patterns.split(','), FOLLOW_OPTIONS[how]);
  }

  /** In the other style, where what `follow` refuses is answered with a status. */
  @Sse('follow-many')
  followMany(@Query('patterns') patterns: string, @Connection() connection: SseConnection) {
    return connection.follow(patterns.split(','));
  }

  @Sse('ticks')
  ticks() {
    return interval(200).pipe(map((n) => ({ data: { n } })));
  }

  @Get('stream')
  stream(@Res() res: object) {
    return this.sse.stream(res, answer, { format: 'openai' });
  }

  @Sse('rooms/:room')
  enter(@Param('room') room: string, @Query('id') id: string, @Connection() connection: SseConnection) {
    return connection.follow(`rooms.${room}`, { presence: { id, data: { name: id } } });
  }

  @Sse('rooms/:room/people')
  people(@Param('room') room: string) {
    return this.sse
      .presence(`rooms.${room}`)
      .changes()
      .pipe(map((change) => ({ data: change })));
  }

  @Post('tickets')
  issue() {
    return { ticket: this.sse.tickets.issue({ key: 'ticketed', data: { role: 'guest' } }) };
  }

  @Sse('ticketed')
  @UseGuards(SseTicketGuard)
  ticketed(@Connection() connection: SseConnection) {
    return connection.follow('orders.*');
  }

  @Post('runs/:id')
  async start(@Param('id') id: string, @Query('owner') owner: string, @Res() res: object) {
    const runs = this.sse.runs.of(owner);
    await runs.start(id, answer, { orphanMs: 1_000, ttlMs: 30_000 });
    await runs.attach(res, id);
  }

  @Get('runs/:id')
  async attach(@Param('id') id: string, @Query('owner') owner: string, @Res() res: object) {
    await this.sse.runs.of(owner).attach(res, id);
  }

  @Delete('runs/:id')
  stop(@Param('id') id: string, @Query('owner') owner: string) {
    return this.sse.runs.of(owner).stop(id);
  }

  @Post('revoke/:key')
  @HttpCode(204)
  revoke(@Param('key') key: string) {
    return this.sse.revoke(key, { forMs: 1_000 });
  }

  /** Publishes as many events in one turn. */
  @Post('publish')
  @HttpCode(204)
  async publish(@Body() { topic, count, bytes }: { topic: string; count: number; bytes: number }) {
    const event = { type: 'changed', data: { at: Date.now(), pad: 'x'.repeat(bytes) } };
    await Promise.all(Array.from({ length: count }, () => this.sse.publish(topic, event)));
  }

  /** Follows in code on the server, up to the head. */
  @Get('read')
  async read() {
    const events = await lastValueFrom(
      this.sse.events('orders.>', { from: { agoMs: 2_000 }, to: 'head' }).pipe(toArray()),
    );
    return { events: events.length };
  }

  @Get('metrics')
  async metrics() {
    const { resourceMetrics } = await reader.collect();
    return { prometheus: await registry.metrics(), scopes: resourceMetrics.scopeMetrics.length };
  }

  @Get('ready')
  @HealthCheck()
  ready() {
    return this.health.check([() => this.indicator.isReady('sse', { degradedMs: Infinity })]);
  }

  @Get('sample')
  sample(): Sample {
    return sampleOf(this.sse);
  }
}

async function* answer({ signal }: { signal: AbortSignal }) {
  for (let n = 0; n < 40 && !signal.aborted; n += 1) {
    yield { n, text: 'some words of an answer ' };
    await pause(25, undefined, { signal }).catch(() => undefined);
  }
}

const MIB = 1_048_576;

// What a machine that is busy with other things takes: a log that is away is no part of a soak.
const PATIENCE = { commandTimeoutMs: 20_000, publishTimeoutMs: 20_000 };
const LOGS = {
  memory: () => memory({ maxEvents: 2_000, maxBytes: 2 * MIB }),
  redis: () => redis({ url: config.url!, maxEvents: 2_000, ...PATIENCE }),
  postgres: () => postgres({ url: config.url!, maxEvents: 2_000, ...PATIENCE }),
};

// All that is kept has a bound that is reached within a minute: what grows after it is a leak.
@Module({
  imports: [
    SseModule.forRoot({
      log: LOGS[config.log](),
      // A machine that stands still for longer than a command may take costs no run.
      runs: { leaseMs: 30_000 },
      compression: 'stream',
      ringEvents: 500,
      ringBytes: 2 * MIB,
      maxReplayEvents: 1_500,
      heartbeatMs: 1_000,
      retryMs: 200,
      maxConnections: 200,
      maxConnectionMs: 20_000,
      maxLagMs: 2_000,
      maxBufferedBytes: 65_536,
      authorize: (topic) => !topic.endsWith('.secret'),
      keyOf: ({ headers }: { headers: Record<string, string | undefined> }) => headers['x-user'],
      limits: {
        connectionsPerKey: 10,
        runsPerKey: 2,
        patternsPerConnection: 5,
        replayEventsPerKeyPerMinute: 20_000,
        endedRuns: 20,
      },
      revalidate: { everyMs: 1_000, check: async () => true },
      tickets: { secret: 'of a soak that everybody may know', ttlMs: 2_000 },
      presence: { graceMs: 500, leaseMs: 4_000 },
      drain: { spreadMs: 100 },
    }),
    SseInspectorModule.forRoot({ guards: [{ canActivate: () => true }] }),
    SsePrometheusModule.forRoot({ registry }),
    SseOpenTelemetryModule.forRoot(),
    TerminusModule.forRoot({ logger: false }),
  ],
  controllers: [SoakController],
  providers: [SseHealthIndicator],
})
class AppModule {}

const loop = monitorEventLoopDelay({ resolution: 20 });
loop.enable();
const sockets = new Set<Socket>();

function sampleOf(sse: SseService): Sample {
  // Before the collection, which holds up the loop itself.
  const loopP99Ms = loop.percentile(99) / 1e6;
  const loopMaxMs = loop.max / 1e6;
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo();
  const timers = resources.filter((name) => name === 'Timeout' || name === 'Immediate').length;
  const { connections, topics, log, runs } = sse.metrics;
  const { user, system } = process.cpuUsage();
  const sample = {
    heap: heapUsed,
    external,
    rss,
    descriptors: readdirSync('/proc/self/fd').length,
    handles: resources.length - timers,
    timers,
    listeners: listenersOf(process) + listenersOf(server) + Math.max(0, ...Array.from(sockets, listenersOf)),
    deadlines: registryOfConnections.wheel.size,
    loopP99Ms,
    loopMaxMs,
    cpuMs: (user + system) / 1_000,
    connections: connections.open + connections.flushing,
    followers: topics.followers,
    behind: topics.behind,
    followerLag: topics.maxLagEvents,
    logLag: log.lagEvents,
    pending: topics.pendingEvents,
    queued: connections.queuedBytes,
    runs: runs.live,
    keys: limits.connections.size,
  };
  loop.reset();
  return sample;
}

function listenersOf(emitter: NodeJS.EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}

const adapter = config.platform === 'express' ? new ExpressAdapter() : new FastifyAdapter();
const app = await NestFactory.create(AppModule, adapter as ExpressAdapter, { logger: ['error', 'fatal'] });
// What the package keeps to itself.
const registryOfConnections = app.get(ConnectionRegistry, { strict: false });
const limits = app.get(Limits, { strict: false });
await app.listen(0, '127.0.0.1');
const server = app.getHttpServer() as Server;
server.on('connection', (socket: Socket) => {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});
console.log(`listening on ${(server.address() as AddressInfo).port}`);
// Nothing ends it but that nothing is left to do: what stays open keeps the process alive, and is seen.
process.once('SIGTERM', () => {
  leaked.forEach(({ timer }) => clearInterval(timer));
  void app.close();
});
