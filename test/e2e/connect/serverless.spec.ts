import { afterEach, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { configure } from '@codegenie/serverless-express';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import httpMocks from 'node-mocks-http';
import serverlessHttp from 'serverless-http';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { closeAll, platforms } from '../../support/apps/platforms.js';
import { eventOf, ServerlessController, textOf } from './serverless-app.js';
import type { Answer } from './serverless-app.js';

const express = platforms.find(({ name }) => name === 'Express')!;

/** The body with which an adapter answers; what it rejects with where it answers with none. */
type Invoke = (method: string, path: string) => Promise<string>;

const instanceOf = (app: INestApplication): never => app.getHttpAdapter().getInstance() as never;

const adapters: { name: string; invoke(app: INestApplication): Invoke }[] = [
  {
    name: '@codegenie/serverless-express',
    invoke: (app) => {
      const handler = configure({ app: instanceOf(app) }) as unknown as (
        event: object,
        context: object,
      ) => Promise<Answer>;
      return async (method, path) => textOf(await handler(eventOf(method, path), {}));
    },
  },
  {
    name: 'serverless-http',
    invoke: (app) => {
      const handler = serverlessHttp(instanceOf(app)) as (event: object, context: object) => Promise<Answer>;
      return async (method, path) => textOf(await handler(eventOf(method, path), {}));
    },
  },
];

describe.each(adapters)('under $name', ({ invoke }) => {
  afterEach(closeAll);

  const create = async () => {
    const warnings: string[] = [];
    const nothing = () => undefined;
    const app = await express.create(
      { imports: [SseModule.forRoot()], controllers: [ServerlessController] },
      {
        logger: { log: nothing, error: nothing, warn: (message: string) => void warnings.push(message) },
      },
    );
    return {
      app,
      warnings,
      call: invoke(app),
      sse: app.get(SseService),
      controller: app.get(ServerlessController),
    };
  };

  it('a stream() is answered whole', async () => {
    const { call, controller } = await create();
    expect(await call('POST', '/complete')).toBe('retry: 3000\ndata: a\n\ndata: b\n\n');
    await waitFor(() => controller.ends.length > 0);
    expect(controller.ends).toMatchObject([{ reason: 'done', events: 2 }]);
  });

  it('a stream() that fails says so, where nothing could be cut', async () => {
    const { call, warnings } = await create();
    expect(await call('POST', '/fails')).toContain(
      'data: b\n\nevent: error\ndata: Internal server error\n\n',
    );
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('no connection that could be cut');
  });

  it('a format tells the failure', async () => {
    const { call } = await create();
    expect(await call('POST', '/format')).toMatch(/data: "b"\n\nevent: error\ndata: \{.*\}\n\n$/);
  });

  it('a client that follows gets what there is, until its time is up', async () => {
    const { call, sse } = await create();
    await sse.publish('news', 'a');
    await sse.publish('news', 'b');
    expect(await call('GET', '/follows')).toMatch(/data: a\n[^]*data: b\n/);
    expect(sse.connections.size).toBe(0);
  });

  it('app.close() waits for nothing', async () => {
    const { app, sse, call } = await create();
    await call('POST', '/complete');
    await call('POST', '/fails').catch(() => undefined);
    await app.close();
    expect(sse.connections.size).toBe(0);
  });
});

describe('under @fastify/aws-lambda and inject(), which jest cannot load', () => {
  afterEach(endProcesses);

  it('answers, ends, cuts and closes as over a connection', async () => {
    const process = await AppProcess.start(new URL('serverless.app.ts', import.meta.url));
    await process.until(({ exitCode }) => exitCode !== undefined);
    // The adapter prints the failure as well.
    const told = JSON.parse(process.output.trim().split('\n').at(-1)!) as Record<
      string,
      Record<string, string>
    >;
    // The adapter makes of the cut a 500 of its own, with an empty body.
    const failures = { 'aws-lambda': '', inject: 'LIGHT_ECONNRESET' };
    for (const [name, fails] of Object.entries(failures)) {
      expect(told[name]).toEqual({
        complete: 'retry: 3000\ndata: a\n\ndata: b\n\n',
        fails,
        format: expect.stringMatching(/data: "b"\n\nevent: error\ndata: \{.*\}\n\n$/),
        follows: expect.stringMatching(/data: a\n[^]*data: b\n/),
        warnings: '',
      });
    }
  });
});

describe('with the mocks of node-mocks-http', () => {
  afterEach(closeAll);

  it.each([
    ['and events', true],
    ['without events', false],
  ])(
    '%s connect(), send() and close() do not throw, and shutdown waits for nothing',
    async (_how, withEvents) => {
      const app = await express.create({
        imports: [SseModule.forRoot()],
        controllers: [ServerlessController],
      });
      const sse = app.get(SseService);
      const { EventEmitter } = await import('node:events');
      const { res } = httpMocks.createMocks(
        { method: 'GET', url: '/x' },
        withEvents ? { eventEmitter: EventEmitter } : undefined,
      );
      const connection = sse.connect(res);
      expect(connection.send({ data: 'a' })).toBe(true);
      connection.close();
      expect(await connection.closed).toBe('server');
      expect(res._getBuffer().toString()).toBe('retry: 3000\ndata: a\n\n');
      expect(res._getStatusCode()).toBe(200);
      const left = httpMocks.createResponse(withEvents ? { eventEmitter: EventEmitter } : undefined);
      sse.connect(left).send('left open');
      await app.close();
      expect(sse.connections.size).toBe(0);
    },
  );

  it('a bare object of a test says what it lacks', async () => {
    const app = await express.create({ imports: [SseModule.forRoot()], controllers: [] });
    const sse = app.get(SseService);
    const bare = { write: () => true, writeHead: () => undefined, end: () => undefined };
    expect(() => sse.connect(bare)).toThrow(/Expected the response of a request/);
  });
});
