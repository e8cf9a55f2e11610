import { Controller, Delete, Get, Inject, Param, Post, RequestMethod, Res, Sse } from '@nestjs/common';
import type { Type } from '@nestjs/common';
import { Connection, LastEventId, SseConnection, SseService } from 'nestjs-event-stream';
import { setTimeout as delay } from 'node:timers/promises';
import { User } from './routes.js';

async function* three() {
  for (let n = 0; n < 3; n += 1) {
    yield { n };
    await delay(2);
  }
}

async function* breaks() {
  yield { n: 0 };
  await delay(5);
  throw new Error('broke');
}

/** Routes that plain Nest has no counterpart for. Made anew for each app: its decorators write to it. */
export function moduleRoutes(): Type<unknown> {
  @Controller({ path: 'module', version: '1' })
  class ModuleRoutes {
    constructor(@Inject(SseService) private readonly sse: SseService) {}

    @Sse('generator')
    async *generator() {
      yield { data: 'one', id: '1' };
      await delay(2);
      yield { data: new User('ann'), type: 'user' };
    }

    @Sse('connection')
    connection(@Connection() connection: SseConnection, @LastEventId() lastEventId: string | undefined) {
      connection.send({ data: `after ${lastEventId}` });
      return three();
    }

    @Sse('post', { method: RequestMethod.POST })
    post() {
      return three();
    }

    @Sse('follow')
    follow(@Connection() connection: SseConnection) {
      return connection.follow('orders.*', { from: 'earliest' });
    }

    @Get('res-follow')
    resFollow(@Res() response: object) {
      this.sse.connect(response).follow('orders.*', { from: 'earliest' });
    }

    @Post('publish/:data')
    async publish(@Param('data') data: string) {
      return { position: await this.sse.publish('orders.1', { data }) };
    }

    @Get('beats')
    beats(@Res() response: object) {
      this.sse.connect(response, { heartbeatMs: 50 });
    }

    @Get('rotated')
    rotated(@Res() response: object) {
      this.sse.connect(response, { maxConnectionMs: 50 }).send({ data: 'one' });
    }

    @Post('json')
    json(@Res() response: object) {
      return this.sse.stream(response, three, { format: 'json' });
    }

    @Post('breaks')
    breaks(@Res() response: object) {
      return this.sse.stream(response, breaks);
    }

    @Post('breaks-json')
    breaksJson(@Res() response: object) {
      return this.sse.stream(response, breaks, { format: 'json' });
    }

    @Post('runs/:id')
    async start(@Param('id') id: string, @Res() response: object) {
      await this.sse.runs.start(id, id.startsWith('slow') ? slow : three);
      await this.sse.runs.attach(response, id);
    }

    @Get('runs/:id')
    async attach(@Param('id') id: string, @Res() response: object) {
      await this.sse.runs.attach(response, id);
    }

    @Delete('runs/:id')
    async stop(@Param('id') id: string) {
      return { wasLive: await this.sse.runs.stop(id) };
    }

    @Get('stop')
    stopReconnecting(@Res() response: object) {
      this.sse.stopReconnecting(response);
    }

    @Get('connections')
    connections() {
      return { size: this.sse.connections.size };
    }
  }
  return ModuleRoutes;
}

async function* slow() {
  for (let n = 0; n < 2_000; n += 1) {
    yield { n };
    await delay(5);
  }
}
