import 'reflect-metadata';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate, setTimeout } from 'node:timers/promises';
import {
  Controller,
  Get,
  Injectable,
  Module,
  Post,
  Query,
  Res,
  Sse,
  type INestApplication,
} from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { SseModule, SseService } from 'nestjs-event-stream';
import { NEVER } from 'rxjs';

export const NUMBERS = Array.from({ length: 10 }, (_, n) => String(n));
const PACE_MS = 100;

/** Numbers at a steady pace. */
@Injectable()
export class Pace {
  /** When each of a stream's numbers was sent, by the clock of `ReceivedEvent.receivedAt`. */
  readonly sentAt: Record<string, number[]> = {};

  async *numbers(stream: string, signal?: AbortSignal): AsyncGenerator<string> {
    const sentAt: number[] = (this.sentAt[stream] = []);
    for (const number of NUMBERS) {
      await setTimeout(PACE_MS, undefined, { signal });
      // After a stall a timer fires before anything is read: what has arrived meanwhile was there before this number.
      await setImmediate();
      sentAt.push(performance.timeOrigin + performance.now());
      yield number;
    }
  }
}

@Controller()
class OriginController {
  constructor(
    private readonly sse: SseService,
    private readonly pace: Pace,
  ) {}

  @Sse('sse')
  numbersOfSse() {
    return this.pace.numbers('sse');
  }

  @Get('res')
  async numbersOfRes(@Res() res: object): Promise<void> {
    const connection = this.sse.connect(res);
    for await (const number of this.pace.numbers('res')) {
      connection.send(number);
    }
    connection.close();
  }

  @Post('answer')
  answer(@Res() res: object) {
    return this.sse.stream(res, ({ signal }) => this.pace.numbers('answer', signal));
  }

  @Sse('sse/quiet')
  quietSse() {
    return NEVER;
  }

  @Get('res/quiet')
  quietRes(@Res() res: object, @Query('heartbeat') heartbeat?: string): void {
    this.sse.connect(res, heartbeat === 'off' ? { heartbeatMs: false } : {});
  }

  @Post('answer/open')
  openAnswer(@Res() res: object) {
    return this.sse.stream(res, async function* ({ signal }) {
      yield 'begun';
      await setTimeout(60_000, undefined, { signal });
    });
  }

  @Post('answer/broken')
  brokenAnswer(@Res() res: object) {
    return this.sse.stream(res, async function* () {
      yield 'begun';
      await setTimeout(PACE_MS);
      throw new Error('the model went away');
    });
  }

  @Get('short')
  short(@Res() res: object): void {
    const connection = this.sse.connect(res);
    connection.send('all there is');
    connection.close();
  }
}

export const adapters = ['Express', 'Fastify'] as const;
export type Adapter = (typeof adapters)[number];

/** The server behind a proxy. */
export interface Origin {
  readonly app: INestApplication;
  readonly port: number;
  readonly sse: SseService;
  readonly pace: Pace;
  /** Connections that the proxy has opened so far. */
  readonly sockets: number;
  /** Writes to responses so far, heartbeats included. */
  readonly writes: number;
}

/** @param at - the port of an origin that is gone, to take its place */
export async function startOrigin(adapter: Adapter, heartbeatMs: number, at = 0): Promise<Origin> {
  @Module({
    imports: [SseModule.forRoot({ heartbeatMs })],
    controllers: [OriginController],
    providers: [Pace],
  })
  class OriginModule {}

  const module = await Test.createTestingModule({ imports: [OriginModule] }).compile();
  const app =
    adapter === 'Express'
      ? module.createNestApplication({ logger: false })
      : module.createNestApplication(new FastifyAdapter(), { logger: false });
  const server = app.getHttpServer() as Server;
  let sockets = 0;
  let writes = 0;
  server.on('connection', () => (sockets += 1));
  server.prependListener('request', (_request, response: ServerResponse) => {
    const write = response.write.bind(response) as (...args: unknown[]) => boolean;
    response.write = (...args: unknown[]) => {
      writes += 1;
      return write(...args);
    };
  });
  await app.listen(at, '127.0.0.1');
  return {
    app,
    port: (server.address() as AddressInfo).port,
    sse: app.get(SseService),
    pace: app.get(Pace),
    get sockets() {
      return sockets;
    },
    get writes() {
      return writes;
    },
  };
}
