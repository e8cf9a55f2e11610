import { once } from 'node:events';
import { createServer, ServerResponse } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { Http2Server, Http2ServerResponse } from 'node:http2';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { waitFor } from 'nestjs-event-stream/testing';
import { SharedStreams } from '../compression/index.js';
import { Chunk } from '../wire/index.js';
import { ChunkWrites } from './chunk-writes.js';
import { DeadlineWheel } from '../time/deadline-wheel.js';
import { ResponseOutput } from './output.js';
import type { WriteCounts } from './output.js';
import { toPlatform } from '../http/platform.js';

/** A client of bare TCP, which keeps each byte. */
class Client {
  readonly socket: Socket;
  #parts: Buffer[] = [];

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (data) => this.#parts.push(data));
    this.socket.on('error', () => undefined);
  }

  get(request = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'): this {
    this.socket.write(request);
    return this;
  }

  // Joined on use: many small parts come to megabytes.
  get #bytes(): Buffer {
    this.#parts = [Buffer.concat(this.#parts)];
    return this.#parts[0]!;
  }

  get received(): string {
    return this.#bytes.toString();
  }

  /** The headers less the date, and the body out of its chunks, into which Node's versions cut it differently. */
  get answer(): string {
    const start = this.#bytes.indexOf('\r\n\r\n') + 4;
    const head = this.#bytes.toString('latin1', 0, start).replace(/^Date: .*\r\n/m, '');
    const parts: string[] = [head];
    for (let at = start; at < this.#bytes.length;) {
      const line = this.#bytes.indexOf('\r\n', at);
      const size = Number.parseInt(this.#bytes.toString('latin1', at, line), 16);
      const end = line + 2 + size;
      expect(this.#bytes.toString('latin1', end, end + 2)).toBe('\r\n');
      parts.push(this.#bytes.toString('latin1', line + 2, end));
      at = end + 2;
      // The chunk of no bytes is the last one.
      expect(size === 0).toBe(at === this.#bytes.length);
    }
    return parts.join('');
  }

  until(text: string): Promise<boolean> {
    return waitFor(() => this.#bytes.includes(text), {
      timeoutMs: 15_000,
      describe: () => `${JSON.stringify(text)}, after ${JSON.stringify(this.received.slice(-300))}`,
    });
  }
}

const END = '0\r\n\r\n';
const wrapWrite = (res: ServerResponse) => {
  const { write } = res;
  res.write = (...args: unknown[]) => Reflect.apply(write, res, args) as boolean;
};

describe('ResponseOutput', () => {
  let server: Server;
  let counts: WriteCounts;
  let drained: number;
  let broken: unknown[];
  const wheel = new DeadlineWheel();
  let clients: Client[];
  let handle: (res: ServerResponse, req: IncomingMessage) => unknown;

  beforeEach(async () => {
    counts = { direct: 0, throughResponse: 0, events: 0, bytes: 0, savedBytes: 0 };
    drained = 0;
    broken = [];
    clients = [];
    server = createServer((req, res) => void handle(res, req));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    clients.forEach(({ socket }) => socket.destroy());
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const open = () => {
    const client = new Client((server.address() as AddressInfo).port);
    clients.push(client);
    return client;
  };
  const outputOf = (res: object) => {
    const output = new ResponseOutput(
      toPlatform(res),
      {
        onFull: () => undefined,
        onDrained: () => (drained += 1),
        onBroken: (error) => broken.push(error),
        onWrapped: () => undefined,
      },
      { writeCounts: counts, wheel, sharedStreams: new SharedStreams() },
    );
    (res as ServerResponse).on('prefinish', () => output.onEnd());
    (res as ServerResponse).on('close', () => output.release());
    return output;
  };
  /** An output whose headers are out, as a connection has it. */
  const begin = (res: ServerResponse) => {
    const output = outputOf(res);
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    output.write('retry: 1\n');
    return output;
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('writes a chunk to the socket as it is, and text through the response, in order', async () => {
    handle = async (res) => {
      const output = begin(res);
      await turn();
      output.writeChunk(new Chunk('data: é\n\n'));
      output.write(': text\n');
      await turn();
      output.writeChunk(new Chunk('data: 2\n\n'));
      res.end();
    };
    const client = open().get();
    await client.until(END);
    expect(counts).toMatchObject({ direct: 2, throughResponse: 0 });
    expect(client.received.split('\r\n\r\n')[1]).toBe(
      ['9', 'retry: 1\n', 'a', 'data: é\n\n', '7', ': text\n', '9', 'data: 2\n\n', '0'].join('\r\n'),
    );
  });

  it('tells of a socket that throws, and writes to those behind it', async () => {
    const outputs: ResponseOutput[] = [];
    const sockets: Socket[] = [];
    handle = (res) => {
      outputs.push(begin(res));
      sockets.push(res.socket!);
    };
    const opened = [];
    for (let n = 0; n < 3; n += 1) {
      const client = open().get();
      opened.push(client);
      await client.until('retry: 1');
    }
    sockets[1]!.write = () => {
      throw new Error('the socket broke');
    };
    const writes = new ChunkWrites();
    const chunk = new Chunk('data: 1\n\n');
    outputs.forEach((output) => output.stageChunk(chunk, writes));
    writes.flush();
    await opened[0]!.until('data: 1');
    await opened[2]!.until('data: 1');
    expect(broken).toContainEqual(new Error('the socket broke'));
  });

  it('sends the same bytes directly and through a response that is wrapped', async () => {
    const step = fc.oneof(
      fc.record({ text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }) }),
      fc.record({ chunk: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }) }),
      fc.record({ large: fc.integer({ min: 1, max: 200_000 }) }),
      fc.constantFrom<'cork' | 'uncork' | 'turn' | 'cork response' | 'uncork response'>(
        'cork',
        'uncork',
        'turn',
        'turn',
        'cork response',
        'uncork response',
      ),
    );
    let directs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15, size: 'max' }), async (steps) => {
        const play = async (prepare: (res: ServerResponse) => unknown) => {
          counts.direct = 0;
          handle = async (res) => {
            prepare(res);
            const output = begin(res);
            let corked = 0;
            // An app that does not pair the two loses bytes in Node 22.
            const uncork = (times: number) => {
              for (; times > 0; times -= 1) {
                res.uncork();
                corked -= 1;
              }
            };
            for (const todo of steps) {
              if (todo === 'turn') {
                await turn();
              } else if (todo === 'cork' || todo === 'uncork') {
                output[todo]();
              } else if (todo === 'cork response') {
                res.cork();
                corked += 1;
              } else if (todo === 'uncork response') {
                uncork(Math.min(1, corked));
              } else if ('text' in todo) {
                output.write(todo.text);
              } else {
                output.writeChunk(new Chunk('chunk' in todo ? todo.chunk : 'x'.repeat(todo.large)));
              }
            }
            uncork(corked);
            res.end();
          };
          const client = open().get('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
          await once(client.socket, 'close');
          return client.answer;
        };
        const direct = await play(() => undefined);
        directs += counts.direct;
        const wrapped = await play(wrapWrite);
        expect(counts.direct).toBe(0);
        expect(direct).toBe(wrapped);
      }),
      { numRuns: 60 },
    );
    expect(directs).toBeGreaterThan(10);
  });

  describe('never goes past the response', () => {
    const chunks = ['data: 1\n\n', 'data: 2\n\n'];
    const writeAll = (output: ResponseOutput) => chunks.forEach((text) => output.writeChunk(new Chunk(text)));
    const expectThrough = () => expect(counts).toMatchObject({ direct: 0, throughResponse: 2 });

    it('where write() is wrapped, as a compression does', async () => {
      handle = (res) => {
        wrapWrite(res);
        writeAll(begin(res));
        res.end();
      };
      await open().get().until(END);
      expectThrough();
    });

    it('where write() is wrapped later', async () => {
      handle = async (res) => {
        const output = begin(res);
        await turn();
        output.writeChunk(new Chunk('data: 0\n\n'));
        wrapWrite(res);
        writeAll(output);
        res.end();
      };
      await open().get().until(END);
      expect(counts).toMatchObject({ direct: 1, throughResponse: 2 });
    });

    it('where a subclass has a write() of its own', async () => {
      class Response extends ServerResponse {
        override write(...args: unknown[]): boolean {
          return super.write(...(args as [string]));
        }
      }
      await new Promise((resolve) => server.close(resolve));
      server = createServer({ ServerResponse: Response as unknown as typeof ServerResponse }, (_req, res) => {
        writeAll(begin(res));
        res.end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      await open().get().until(END);
      expectThrough();
    });

    it('for HTTP/1.0, which has no chunks', async () => {
      handle = (res) => {
        writeAll(begin(res));
        res.end();
      };
      const client = open().get('GET / HTTP/1.0\r\n\r\n');
      await once(client.socket, 'close');
      expectThrough();
      expect(client.received.split('\r\n\r\n')[1]).toBe('retry: 1\ndata: 1\n\ndata: 2\n\n');
    });

    it('where the response has a length', async () => {
      handle = (res) => {
        res.setHeader('Content-Length', 27);
        writeAll(begin(res));
        res.end();
      };
      const client = open().get();
      await client.until('data: 2\n\n');
      expectThrough();
      expect(client.received.endsWith('\r\n\r\nretry: 1\ndata: 1\n\ndata: 2\n\n')).toBe(true);
    });

    it.each([false, true])('before the headers are out, corked: %p', async (isCorked) => {
      handle = (res) => {
        const output = outputOf(res);
        res.writeHead(200);
        if (isCorked) {
          output.cork();
        }
        writeAll(output);
        output.uncork();
        res.end();
      };
      const client = open().get();
      await client.until(END);
      expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(client.received.match(/data: \d/g)).toEqual(['data: 1', 'data: 2']);
      expect(counts.throughResponse).toBeGreaterThan(0);
    });

    it('while something waits in the response, and does again after it', async () => {
      handle = async (res) => {
        const output = begin(res);
        await turn();
        output.writeChunk(new Chunk('data: 1\n\n'));
        res.cork();
        output.write(': 2\n');
        output.writeChunk(new Chunk('data: 3\n\n'));
        res.uncork();
        await turn();
        output.writeChunk(new Chunk('data: 4\n\n'));
        res.end();
      };
      const client = open().get();
      await client.until(END);
      expect(client.received.match(/^(data|): \d/gm)).toEqual(['data: 1', ': 2', 'data: 3', 'data: 4']);
      expect(counts.direct).toBeGreaterThanOrEqual(2);
    });

    it('while an earlier response of the same socket is not over', async () => {
      const waiting: (() => void)[] = [];
      handle = async (res, req) => {
        const output = begin(res);
        await turn();
        writeAll(output);
        waiting.push(() => {
          output.write(`: ${req.url}\n`);
          res.end();
        });
      };
      const client = open().get('GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
      await waitFor(() => waiting.length === 2);
      expect(counts).toMatchObject({ direct: 2, throughResponse: 2 });
      await client.until('data: 2');
      waiting[1]!();
      await turn();
      expect(client.received).not.toContain(': /2');
      waiting[0]!();
      await client.until(': /2\n\r\n0\r\n\r\n');
      expect(client.received.match(/HTTP\/1\.1 200|data: \d|: \/\d/g)).toEqual([
        'HTTP/1.1 200',
        'data: 1',
        'data: 2',
        ': /1',
        'HTTP/1.1 200',
        'data: 1',
        'data: 2',
        ': /2',
      ]);
    });

    it('where the socket is none of the network, as under inject()', async () => {
      const written: Buffer[] = [];
      const socket = new Writable({
        write: (data: Buffer, _encoding, done) => {
          written.push(data);
          done();
        },
      });
      const req = { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1, headers: {} };
      const res = new ServerResponse(req as unknown as IncomingMessage);
      res.assignSocket(socket as unknown as Socket);
      writeAll(begin(res));
      res.end();
      await waitFor(() => Buffer.concat(written).toString().endsWith(END));
      expectThrough();
      expect(
        Buffer.concat(written)
          .toString()
          .match(/data: \d/g),
      ).toEqual(['data: 1', 'data: 2']);
    });

    it('once the response is over: the socket serves another', async () => {
      const outputs: ResponseOutput[] = [];
      handle = async (res, req) => {
        const output = begin(res);
        res.on('error', () => undefined);
        await turn();
        output.writeChunk(new Chunk(`data: ${req.url}\n\n`));
        outputs.push(output);
        res.end();
      };
      const client = open().get('GET /1 HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.until(END);
      handle = async (res) => {
        const output = begin(res);
        await turn();
        outputs[0]!.writeChunk(new Chunk('data: late\n\n'));
        output.writeChunk(new Chunk('data: second\n\n'));
        res.end();
      };
      client.get();
      await client.until('data: second');
      await waitFor(() => client.received.endsWith(END));
      expect(client.received).not.toContain('late');
      expect(counts).toMatchObject({ direct: 2, throughResponse: 0 });
    });
  });

  it('writes nothing in answer to HEAD', async () => {
    handle = (res) => {
      const output = begin(res);
      output.writeChunk(new Chunk('data: 1\n\n'));
      res.end();
    };
    const client = open().get('HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await once(client.socket, 'close');
    expect(client.received).toMatch(/\r\n\r\n$/);
    expect(client.received).not.toContain('data');
    expect(counts).toMatchObject({ direct: 0, throughResponse: 0 });
  });

  it('goes through the response of HTTP/2', async () => {
    const http2: Http2Server = createHttp2Server((_req, res: Http2ServerResponse) => {
      const output = outputOf(res);
      res.writeHead(200);
      output.write('retry: 1\n');
      output.cork();
      output.writeChunk(new Chunk('data: 1\n\n'));
      output.uncork();
      res.end();
    });
    await new Promise<void>((resolve) => http2.listen(0, '127.0.0.1', resolve));
    const session = connectHttp2(`http://127.0.0.1:${(http2.address() as AddressInfo).port}`);
    const stream = session.request({ ':path': '/' });
    let body = '';
    stream.setEncoding('utf8').on('data', (text: string) => (body += text));
    await once(stream, 'end');
    expect(body).toBe('retry: 1\ndata: 1\n\n');
    expect(counts).toMatchObject({ direct: 0, throughResponse: 1 });
    session.close();
    await new Promise((resolve) => http2.close(resolve));
  });

  describe('a client that does not read', () => {
    const LARGE = new Chunk('x'.repeat(1_000_000));

    // More than the system keeps for both ends of a connection: the socket stays full until the client reads.
    const FULL_BYTES = 8_000_000;

    const fill = (output: ResponseOutput, write: () => void) => {
      while (output.waitingBytes < FULL_BYTES) {
        write();
      }
    };

    it.each([
      ['chunks', false],
      ['text', false],
      ['chunks through a wrapped response', true],
    ])('is told of, and drained() once when it reads again: %s', async (what, isWrapped) => {
      let output!: ResponseOutput;
      handle = (res) => {
        if (isWrapped) {
          wrapWrite(res);
        }
        output = begin(res);
      };
      const client = open().get();
      await client.until('retry');
      client.socket.pause();
      expect(output.keepsUp).toBe(true);
      const text = LARGE.frame.toString();
      fill(output, () => (what === 'text' ? output.write(text) : output.writeChunk(LARGE)));
      expect(output.keepsUp).toBe(false);
      const before = drained;
      // Both kinds wait now: one drain is for both.
      output.write('more');
      output.writeChunk(new Chunk('and more'));
      client.socket.resume();
      await waitFor(() => output.keepsUp, { timeoutMs: 15_000 });
      await client.until('and more');
      await turn();
      expect(drained).toBe(before + 1);
      expect(output.waitingBytes).toBe(0);
    });

    it.each(['reads on', 'leaves'])('leaves no listener on its socket when it %s', async (how) => {
      let output!: ResponseOutput;
      let response!: ServerResponse;
      const sockets = new Set<Socket>();
      handle = (res) => {
        response = res;
        sockets.add(res.socket!);
        output = begin(res);
      };
      const client = open().get();
      await client.until('retry');
      const [socket] = [...sockets];
      const listeners = () =>
        socket!.eventNames().map((name) => [name, socket!.listenerCount(name)].join(' '));
      const before = listeners();
      client.socket.pause();
      fill(output, () => output.writeChunk(LARGE));
      expect(socket!.listenerCount('drain')).toBeGreaterThan(
        Number(before.find((line) => line.startsWith('drain '))?.split(' ')[1] ?? 0),
      );
      if (how === 'leaves') {
        client.socket.destroy();
        await waitFor(() => socket!.destroyed && socket!.listenerCount('drain') <= 1);
        expect(response.listenerCount('drain')).toBe(0);
        return;
      }
      response.end();
      client.socket.resume();
      await waitFor(() => response.writableFinished && response.listenerCount('drain') === 0, {
        timeoutMs: 15_000,
      });
      client.get();
      await waitFor(() => sockets.size === 1 && output.keepsUp && !response.writableFinished);
      expect(listeners().sort()).toEqual(before.sort());
    });
  });

  describe('cork', () => {
    it('corks the socket until uncork(), once however often cork() is called', async () => {
      let held!: number[];
      let output!: ResponseOutput;
      handle = async (res) => {
        output = begin(res);
        await turn();
        const { socket } = res;
        held = [socket!.writableCorked];
        output.uncork();
        output.cork();
        output.cork();
        held.push(socket!.writableCorked);
        output.writeChunk(new Chunk('data: 1\n\n'));
        output.writeChunk(new Chunk('data: 2\n\n'));
        held.push(socket!.writableLength);
        output.uncork();
        held.push(socket!.writableCorked);
        output.uncork();
        held.push(socket!.writableCorked);
      };
      const client = open().get();
      await client.until('data: 2');
      expect(held).toEqual([0, 1, 28, 0, 0]);
      expect(counts.direct).toBe(2);
    });

    it('holds up neither the end of the response nor the next one on the socket', async () => {
      const outputs: ResponseOutput[] = [];
      handle = (res, req) => {
        const output = begin(res);
        output.cork();
        output.writeChunk(new Chunk(`data: ${req.url}\n\n`));
        res.end();
        outputs.push(output);
      };
      const client = open().get('GET /1 HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.until(`data: /1\n\n\r\n${END}`);
      client.get('GET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.until(`data: /2\n\n\r\n${END}`);
      outputs.forEach((output) => output.uncork());
      client.get('GET /3 HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.until(`data: /3\n\n\r\n${END}`);
      expect(client.received.match(/data: \/\d/g)).toEqual(['data: /1', 'data: /2', 'data: /3']);
    });
  });
});
