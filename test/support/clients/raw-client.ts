import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { waitFor } from 'nestjs-event-stream/testing';

const clients = new Set<RawClient>();

/** For `afterEach`, before the apps are closed. */
export function closeRawClients(): void {
  for (const client of clients) {
    client.close();
  }
  clients.clear();
}

/**
 * A client of bare TCP, for what no HTTP client sends or shows: pipelined requests, HTTP/1.0, chunks as they are.
 * {@link closeRawClients} closes it.
 */
export class RawClient {
  /** All that has come, as text. */
  received = '';
  /** Whether the server has closed its side. */
  hasEnded = false;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => (this.received += text));
    socket.on('end', () => (this.hasEnded = true));
    // A server that destroys its side may reset this one: `hasEnded` and what came are what tests look at.
    socket.on('error', () => (this.hasEnded = true));
    clients.add(this);
  }

  /** @param base - as `baseOf(app)` gives it */
  static async connect(base: string): Promise<RawClient> {
    const { hostname, port } = new URL(base);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Sends a request without a body for each path, all in one go. */
  get(...paths: string[]): void {
    this.send(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(''));
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  until(condition: (received: string) => boolean): Promise<boolean> {
    return waitFor(() => condition(this.received), {
      timeoutMs: 15_000,
      describe: () => `${condition.toString()}, having received ${JSON.stringify(this.received.slice(-500))}`,
    });
  }

  /** Stops reading, so that what is sent stays in the server. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }
}
