import { EventEmitter } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { baseOf, closeAll, platforms } from '../../support/apps/platforms.js';
import { closeRawClients, RawClient } from '../../support/clients/raw-client.js';

/** Express's, or Fastify's. */
type AnyRequest = IncomingMessage & { readonly raw?: IncomingMessage };

/** The process on which Node emits warnings: of Jest's, specs have a copy. */
const nodeProcess = EventEmitter.constructor('return process')() as NodeJS.Process;

@Controller()
class Http1Controller {
  readonly connections: SseConnection[] = [];
  readonly sockets: { socket: Socket; listeners: number }[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('three/:name')
  three(@Res() res: object, @Req() req: AnyRequest, @Param('name') name: string) {
    const { socket } = req.raw ?? req;
    this.sockets.push({ socket, listeners: socket.listenerCount('close') });
    const connection = this.sse.connect(res);
    connection.send(`${name} 1`);
    connection.send(`${name} 2`);
    setImmediate(() => {
      connection.send(`${name} 3`);
      connection.close();
    });
  }

  @Get('last')
  last(@Res() res: { header(name: string, value: string): unknown }) {
    res.header('Connection', 'close');
    this.sse.connect(res).close();
  }

  @Get('never')
  never(@Res() _res: object) {}

  @Get('quiet')
  quiet(@Res() res: object) {
    this.sse.connect(res);
  }

  @Get('quiet/by-hand')
  quietByHand(@Res() res: ServerResponse & { raw?: ServerResponse }) {
    (res.raw ?? res).writeHead(200, { 'Content-Type': 'text/event-stream' });
    this.sse.connect(res);
  }

  @Get('open/:name')
  open(@Res() res: object, @Param('name') name: string) {
    const connection = this.sse.connect(res);
    connection.send(name);
    this.connections.push(connection);
  }
}

describe.each(platforms.filter(({ http2 }) => !http2))('HTTP/1 on $name', (platform) => {
  afterEach(async () => {
    closeRawClients();
    await closeAll();
  });

  const create = async (options: SseModuleOptions = {}) => {
    const app = await platform.create({
      imports: [SseModule.forRoot(options)],
      controllers: [Http1Controller],
    });
    const { wheel } = app.get(ConnectionRegistry);
    const { connections } = app.get(SseService);
    return {
      app,
      controller: app.get(Http1Controller),
      nothingLeft: () =>
        waitFor(() => connections.size === 0 && wheel.size === 0, {
          describe: () =>
            `nothing to be left, but ${connections.size} connections and ${wheel.size} deadlines are`,
        }),
    };
  };

  /** The frames of the bodies that came, without what chunked encoding adds. */
  const dataOf = (received: string) => [...received.matchAll(/^data: (.*)$/gm)].map(([, data]) => data);

  it('answers pipelined requests one after the other, each whole', async () => {
    const { app, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));

    client.get('/three/a', '/three/b', '/three/c');

    await client.until((received) => received.split('0\r\n\r\n').length === 4);
    expect(dataOf(client.received)).toEqual('a 1,a 2,a 3,b 1,b 2,b 3,c 1,c 2,c 3'.split(','));
    const answers = client.received.split('0\r\n\r\n').slice(0, 3);
    for (const answer of answers) {
      expect(answer.startsWith('HTTP/1.1 200 OK\r\n')).toBe(true);
    }
    await nothingLeft();
  });

  it('holds what is sent to a pipelined request until those before it have ended', async () => {
    const { app, controller } = await create();
    const client = await RawClient.connect(baseOf(app));
    client.get('/open/a', '/open/b');
    await waitFor(() => controller.connections.length === 2);
    const [first, second] = controller.connections;

    second!.send('b, later');
    first!.send('a, later');
    await client.until((received) => received.includes('a, later'));
    expect(client.received).not.toContain('data: b');
    first!.close();

    await client.until((received) => received.includes('b, later'));
    expect(dataOf(client.received)).toEqual(['a', 'a, later', 'b', 'b, later']);
    expect(second!.send('b, last')).toBe(true);
  });

  it('notices that a client left whose pipelined requests were waiting', async () => {
    const { app, controller, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));
    client.get('/open/a', '/open/b', '/open/c');
    await waitFor(() => controller.connections.length === 3);

    client.close();

    for (const connection of controller.connections) {
      expect(await connection.closed).toBe('client');
    }
    await nothingLeft();
  });

  it('lets go of a pipelined request that is too slow before it had its turn', async () => {
    const { app, controller } = await create({ maxConnections: 1, maxBufferedBytes: 50_000 });
    const client = await RawClient.connect(baseOf(app));
    client.get('/never', '/open/a');
    await waitFor(() => controller.connections.length === 1);
    const [slow] = controller.connections;
    while (!slow!.signal.aborted) {
      slow!.send('x'.repeat(10_000));
    }
    expect(await slow!.closed).toBe('slow');

    const other = await RawClient.connect(baseOf(app));
    other.get('/open/b');

    // It is no longer counted: there is room.
    await other.until((received) => received.includes('data: b'));
  });

  it('leaves no listener on a socket that carried many pipelined requests', async () => {
    const { app, controller, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));
    let warnings = 0;
    const onWarning = ({ name }: Error) => (warnings += name === 'MaxListenersExceededWarning' ? 1 : 0);
    nodeProcess.on('warning', onWarning);

    client.get(...Array.from({ length: 40 }, (_, n) => `/three/${n}`));

    await client.until((received) => received.split('0\r\n\r\n').length === 41);
    nodeProcess.off('warning', onWarning);
    expect(dataOf(client.received)).toHaveLength(120);
    expect(warnings).toBe(0);
    await nothingLeft();
    const [{ socket, listeners }] = controller.sockets as [(typeof controller.sockets)[0]];
    // Node's own for the response whose turn it was has gone.
    expect(socket.listenerCount('close')).toBe(listeners - 1);
  });

  it('does not let pipelined requests of a client that reads nothing hold up the app’s close', async () => {
    const { app, controller } = await create({ drain: { timeoutMs: 100 }, maxBufferedBytes: 50_000_000 });
    const client = await RawClient.connect(baseOf(app));
    client.get('/open/a', '/open/b', '/open/c');
    client.pause();
    await waitFor(() => controller.connections.length === 3);
    for (let sent = 0; sent < 20; sent += 1) {
      controller.connections[0]!.send('x'.repeat(1_000_000));
    }

    await app.close();

    for (const connection of controller.connections) {
      expect(await connection.closed).toBe('shutdown');
    }
  });

  it.each([
    ['closes', ''],
    ['would keep alive', 'Connection: keep-alive\r\n'],
  ])('serves a client of HTTP/1.0, which knows no chunks and %s the connection', async (_what, header) => {
    const { app, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));

    client.send(`GET /three/a HTTP/1.0\r\n${header}\r\n`);

    await waitFor(() => client.hasEnded);
    const [head, body] = client.received.split('\r\n\r\n');
    expect(body).toBe('retry: 3000\ndata: a 1\n\ndata: a 2\n\ndata: a 3\n\n');
    expect(head).not.toMatch(/^transfer-encoding/im);
    expect(head).toMatch(/^connection: close$/im);
    await nothingLeft();
  });

  it('closes the connection after the answer where the client asked for that', async () => {
    const { app, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));

    client.send('GET /three/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');

    await waitFor(() => client.hasEnded, { timeoutMs: 4_000 });
    expect(client.received).toMatch(/^connection: close$/im);
    expect(client.received.endsWith('0\r\n\r\n')).toBe(true);
    await nothingLeft();
  });

  it('closes the connection after the answer where the app asked for that', async () => {
    const { app } = await create();
    const client = await RawClient.connect(baseOf(app));

    client.get('/last');

    await waitFor(() => client.hasEnded, { timeoutMs: 4_000 });
    expect(client.received).toMatch(/^connection: close$/im);
  });

  it.each(['/quiet', '/quiet/by-hand'])("is not held to the server's idle timeout, %s", async (path) => {
    const { app } = await create({ heartbeatMs: false });
    (app.getHttpServer() as Server).setTimeout(200);
    const client = await RawClient.connect(baseOf(app));
    client.get(path);
    await client.until((received) => received.includes('retry: 3000'));
    // Of two that came later, one after the other, it would be the first to be ended.
    for (let n = 0; n < 2; n += 1) {
      const witness = await RawClient.connect(baseOf(app));
      await waitFor(() => witness.hasEnded);
    }

    expect(client.hasEnded).toBe(false);
  });

  it('notices that a client of HTTP/1.0 has left', async () => {
    const { app, controller, nothingLeft } = await create();
    const client = await RawClient.connect(baseOf(app));
    client.send('GET /open/a HTTP/1.0\r\n\r\n');
    await client.until((received) => received.includes('data: a\n\n'));

    client.close();

    expect(await controller.connections[0]!.closed).toBe('client');
    await nothingLeft();
  });
});
