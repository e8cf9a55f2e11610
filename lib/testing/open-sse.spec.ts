import 'reflect-metadata';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Sse, type INestApplication, type MessageEvent } from '@nestjs/common';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { concat, NEVER, Observable, of } from 'rxjs';
import { openSse } from './index.js';

@Controller()
class EventsController {
  @Sse('open')
  open(): Observable<MessageEvent> {
    return concat(of({ data: { n: 1 }, id: 'a' }, { data: 'two', type: 'named' }), NEVER);
  }

  @Sse('done')
  done(): Observable<MessageEvent> {
    return of<MessageEvent>({ data: 'only' });
  }
}

@Module({ controllers: [EventsController] })
class EventsModule {}

const createApp = {
  express: async (): Promise<INestApplication> =>
    (await Test.createTestingModule({ imports: [EventsModule] }).compile()).createNestApplication(),
  fastify: async (): Promise<INestApplication> =>
    (
      await Test.createTestingModule({ imports: [EventsModule] }).compile()
    ).createNestApplication<NestFastifyApplication>(new FastifyAdapter()),
  'fastify on HTTP/2': async (): Promise<INestApplication> =>
    (
      await Test.createTestingModule({ imports: [EventsModule] }).compile()
    ).createNestApplication<NestFastifyApplication>(new FastifyAdapter({ http2: true } as never)),
};

describe.each(Object.entries(createApp))('openSse on a Nest app, %s', (_name, create) => {
  let app: INestApplication;
  afterEach(() => app.close());

  it('starts an app that does not listen, and gives its events out', async () => {
    app = await create();

    const [stream, other] = await Promise.all([openSse(app, '/open'), openSse(app, '/open')]);

    expect(stream.status).toBe(200);
    expect((await stream.next()).json()).toEqual({ n: 1 });
    expect(await stream.next()).toMatchObject({ type: 'named', data: 'two' });
    expect(stream.ending).toBeUndefined();
    await Promise.all([stream.close(), other.close()]);
    expect(stream.ending).toBe('closed');
  });

  it('tells a stream that completes', async () => {
    app = await create();
    const stream = await openSse(app, '/done');

    expect(await stream.body()).toContain('data: only\n\n');
    expect(await stream.ended).toBe('complete');
    await stream.close();
  });
});
