import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Post, Query, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

interface RawResponse {
  end(): unknown;
  destroy(): unknown;
}

/** A connection, with what it has told. */
interface Told {
  readonly connection: SseConnection;
  readonly raw: RawResponse;
  aborts: number;
  readonly reasons: CloseReason[];
}

@Controller()
class ClosingController {
  readonly told: Told[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('stream')
  stream(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#listen(this.sse.connect(res), res.raw ?? res);
  }

  @Post('stream')
  streamPost(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.stream(res);
  }

  @Get('expired')
  expired(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#listen(this.sse.connect(res, { expiresAt: new Date(0) }), res.raw ?? res);
  }

  @Get('failing')
  async failing(@Res() res: RawResponse & { raw?: RawResponse }) {
    this.#listen(this.sse.connect(res), res.raw ?? res);
    await this.sse.stream(res, async function* () {
      yield 'one';
      throw new Error('the source broke');
    });
  }

  @Get('close')
  close(@Res() res: object, @Query('retryMs') retryMs?: string) {
    const connection = this.sse.connect(res);
    connection.send('last');
    connection.close(retryMs === undefined ? {} : { retryMs: Number(retryMs) });
    connection.send('not sent');
  }

  @Get('listening')
  listening(@Res() res: object) {
    const connection = this.sse.connect(res);
    const answers: unknown[] = [];
    connection.signal.addEventListener('abort', () => {
      answers.push(connection.send('in the listener'), connection.comment('in the listener'));
      connection.close();
      answers.push(this.sse.sendSseMessage(res, 'in the listener'), this.sse.connections.size);
    });
    connection.send('one');
    connection.close({ retryMs: 7 });
    this.answers.push(...answers);
  }

  sends = 0;
  hasLooped = false;

  @Get('looping')
  async looping(@Res() res: RawResponse & { raw?: RawResponse }) {
    const connection = this.sse.connect(res);
    (res.raw ?? res).end();
    // Without end it would be for ever: promises alone leave no turn in which the end could be told.
    while (!connection.signal.aborted && this.sends < 100_000) {
      this.sends += 1;
      if (!connection.send('more')) {
        await connection.drained();
      }
    }
    this.hasLooped = true;
  }

  readonly answers: unknown[] = [];

  #listen(connection: SseConnection, raw: RawResponse) {
    const told: Told = { connection, raw, aborts: 0, reasons: [] };
    this.told.push(told);
    connection.signal.addEventListener('abort', () => (told.aborts += 1));
    void connection.closed.then((reason) => told.reasons.push(reason));
  }
}

interface Context {
  app: INestApplication;
  sse: SseService;
  stream: SseTestStream;
  told: Told;
}

describe.each(platforms)('the end of a connection on $name', (platform) => {
  afterEach(closeAll);

  const create = async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot({ maxBufferedBytes: 100_000, drain: { spreadMs: 0 } })],
      controllers: [ClosingController],
    });
    return { app, sse: app.get(SseService), controller: app.get(ClosingController) };
  };

  const sendWithoutEnd = async ({ stream, told: { connection } }: Context) => {
    stream.pause();
    while (!connection.signal.aborted) {
      connection.send('x'.repeat(10_000));
      await new Promise(setImmediate);
    }
  };

  it.each<[string, CloseReason, string, string, (context: Context) => unknown]>([
    ['the client leaves', 'client', '/stream', 'GET', ({ stream }) => stream.close()],
    ['the client of a POST leaves', 'client', '/stream', 'POST', ({ stream }) => stream.close()],
    ['the response is destroyed', 'client', '/stream', 'GET', ({ told }) => told.raw.destroy()],
    ['the app closes it', 'server', '/stream', 'GET', ({ told }) => told.connection.close()],
    ['the app closes them all', 'server', '/stream', 'GET', ({ sse }) => sse.connections.close()],
    ['the app ends the response', 'server', '/stream', 'GET', ({ told }) => told.raw.end()],
    ['the client does not read', 'slow', '/stream', 'GET', sendWithoutEnd],
    ['its time is over', 'expired', '/expired', 'GET', () => undefined],
    ['its stream fails', 'error', '/failing', 'GET', () => undefined],
    ['the app shuts down', 'shutdown', '/stream', 'GET', ({ app }) => app.close()],
  ])('is told once, by signal and closed, when %s: %s', async (_what, reason, path, method, act) => {
    const { app, sse, controller } = await create();
    const stream = await open(app, path, { method });
    await waitFor(() => controller.told.length === 1);
    const told = controller.told[0]!;

    await act({ app, sse, stream, told });

    expect(await told.connection.closed).toBe(reason);
    // Whatever else happens to it later is not told any more.
    told.connection.close();
    sse.connections.close();
    stream.resume();
    await stream.close();
    await waitFor(() => sse.connections.size === 0);
    expect(told.reasons).toEqual([reason]);
    expect(told.aborts).toBe(1);
    expect(told.connection.signal.aborted).toBe(true);
    expect(told.connection.send('late')).toBe(false);
    expect(told.connection.comment('late')).toBe(false);
  });

  it('comes after all that was sent before close()', async () => {
    const { app } = await create();

    const stream = await open(app, '/close');

    expect(await stream.body()).toBe('retry: 3000\ndata: last\n\n');
  });

  it('tells the client when to come back where close() was told', async () => {
    const { app } = await create();

    const stream = await open(app, '/close?retryMs=9000');

    expect(await stream.body()).toBe('retry: 3000\ndata: last\n\nretry: 9000\n');
    expect(stream.retry).toBe(9_000);
  });

  it('bears what a listener of the signal does to the connection', async () => {
    const { app, controller } = await create();

    const stream = await open(app, '/listening');

    expect(await stream.body()).toBe('retry: 3000\ndata: one\n\nretry: 7\n');
    expect(controller.answers).toEqual([false, false, false, 0]);
  });

  it('ends a loop that sends and waits for drained(), where the response was ended by hand', async () => {
    const { app, controller } = await create();

    await (
      await open(app, '/looping')
    ).ended;

    await waitFor(() => controller.hasLooped);
    expect(controller.sends).toBeLessThan(10);
  });

  it('closes the connections of a predicate, and no other', async () => {
    const { app, sse, controller } = await create();
    const streams = [await open(app, '/stream'), await open(app, '/stream'), await open(app, '/stream')];
    controller.told[1]!.connection.data = 'one who logs out';

    expect(sse.connections.close(({ data }) => data === 'one who logs out')).toBe(1);

    expect(await streams[1]!.ended).toBe('complete');
    expect([...sse.connections]).toEqual([controller.told[0]!.connection, controller.told[2]!.connection]);
    expect(streams[0]!.ending).toBeUndefined();
  });
});
