import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from '../../testing/index.js';
import { NatsLink } from './link.js';
import { natsSettings } from './options.js';
import type { NatsConnectionLike, NatsLogOptions } from './options.js';

/** The app's connection, as if a server were there. */
const CONNECTED = {
  info: { version: '2.10.0', headers: true, max_payload: 1_048_576 },
  options: {},
  publish: () => undefined,
  request: () => new Promise(() => undefined),
  subscribe: () => ({ unsubscribe: () => undefined }),
  status: async function* () {},
  isClosed: () => false,
  flush: () => Promise.resolve(),
} as NatsConnectionLike;

/** Stands still, as a process that gets no CPU: when it goes on, a timer may be due before data is read. */
const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

describe('a link to NATS that has not started', () => {
  /** A server that accepts connections and says nothing. */
  let server: Server;
  let address: string;
  const sockets: Socket[] = [];
  const links: NatsLink[] = [];

  beforeEach(async () => {
    server = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.close();
    sockets.splice(0).forEach((socket) => socket.destroy());
    await Promise.all(links.splice(0).map((link) => link.close()));
  });

  const linkTo = (options: NatsLogOptions, prepare = () => Promise.resolve()): NatsLink => {
    const patient = { startTimeoutMs: Infinity, requestTimeoutMs: 60_000, publishTimeoutMs: 20 };
    const link = new NatsLink(natsSettings({ ...patient, ...options }), prepare);
    links.push(link);
    return link;
  };
  const failureOf = (link: NatsLink) =>
    link.whenStarted('publishTimeoutMs').then(
      () => 'it has started',
      (error: Error) => error.message,
    );

  it('says how long a call has waited, by which option, and for which server', async () => {
    expect(await failureOf(linkTo({ servers: `nats://user:secret@${address}` }))).toBe(
      `NATS is not ready: after 20 ms (publishTimeoutMs) the start of the log still waits for a connection to ${address}.`,
    );
  });

  it('says that the stream is what it waits for, once it is connected', async () => {
    const hasBegun = new Promise<NatsLink>((resolve) => {
      const link = linkTo({ connection: CONNECTED }, () => {
        resolve(link);
        return new Promise(() => undefined);
      });
    });
    expect(await failureOf(await hasBegun)).toBe(
      'NATS is not ready: after 20 ms (publishTimeoutMs) the start of the log still waits for the stream "sse-topics".',
    );
    // Closing it waits for the start.
    links.length = 0;
  });

  it('says why its last attempt has failed', async () => {
    server.close();
    const link = linkTo({ servers: address });
    const message = async () => {
      const text = await failureOf(link);
      return text.includes('attempt') && text;
    };
    expect(await waitFor(message, { timeoutMs: 20_000 })).toBe(
      `NATS is not ready: after 20 ms (publishTimeoutMs) the start of the log still waits for a connection to ${address}. The last attempt has failed: Cannot reach NATS at ${address}: ECONNREFUSED`,
    );
  });

  /** Resolves when the links have left none of their connections open. */
  const untilNoneIsOpen = () => {
    const open = () => sockets.filter(({ destroyed }) => !destroyed).length;
    return waitFor(() => open() === 0, {
      timeoutMs: 20_000,
      describe: () => `${open()} of ${sockets.length} connections to be closed`,
    });
  };

  it('leaves no connection open to a server that does not answer in time', async () => {
    const link = linkTo({ servers: address, requestTimeoutMs: 50 });
    await waitFor(() => sockets.length > 2, { timeoutMs: 20_000 });
    await link.close();
    await untilNoneIsOpen();
  });

  it('leaves no connection open that it dials anew as it is closed', async () => {
    server.once('connection', (socket) => {
      socket.write('INFO {"version":"2.10.0","headers":true,"max_payload":1048576}\r\n');
      socket.once('data', () => socket.write('PONG\r\n'));
    });
    const link = linkTo({ servers: address });
    await link.whenStarted();
    sockets[0]!.destroy();
    await waitFor(() => sockets.length > 1, { timeoutMs: 20_000 });
    await link.close();
    await untilNoneIsOpen();
  });

  it('has started for a call whose time is over while the last answer waits to be read', async () => {
    const accepted = once(server, 'connection');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await Promise.all([accepted, once(socket, 'connect')]);
    const answer = once(socket, 'data');
    const hasBegun = new Promise<NatsLink>((resolve) => {
      const link = linkTo({ connection: CONNECTED }, async () => {
        resolve(link);
        await answer;
      });
    });
    const outcome = failureOf(await hasBegun);
    sockets[0]!.write('b');
    standStill(30);
    expect(await outcome).toBe('it has started');
    socket.destroy();
  });
});
