import type { EventEmitter } from 'node:events';
import type { Server, Socket } from 'node:net';
import { expect } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../lib/connection/index.js';

/** On a machine that is busy with other things. */
const DEADLINE_MS = 20_000;

/** What streams may leave behind in an app. Make it before the first client comes. */
export class Leftovers {
  readonly #registry: ConnectionRegistry;
  /** The sockets that are open, with the listeners that each had before its first request. */
  readonly #sockets = new Map<Socket, string>();

  constructor(app: INestApplication) {
    this.#registry = app.get(ConnectionRegistry, { strict: false });
    // Node's own listener was there first: what it adds to a socket is counted in.
    (app.getHttpServer() as Server).on('connection', (socket: Socket) => {
      socket.once('close', () => this.#sockets.delete(socket));
      this.#sockets.set(socket, listenersOf(socket));
    });
  }

  /** How many sockets are open. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** How much the clients on them have sent. */
  get bytesRead(): number {
    return Array.from(this.#sockets.keys(), (socket) => socket.bytesRead).reduce(
      (sum, bytes) => sum + bytes,
      0,
    );
  }

  /** Waits until every stream is gone, with its timers and what listened on its socket. */
  async none(): Promise<void> {
    await waitFor(() => this.#streams() === 'none', {
      timeoutMs: DEADLINE_MS,
      describe: () => this.#streams(),
    });
    for (const [socket, before] of this.#sockets) {
      // Node listens to a socket that it is closing.
      if (socket.writable) {
        expect(listenersOf(socket)).toBe(before);
      }
    }
  }

  #streams(): string {
    const { size, wheel } = this.#registry;
    return size + wheel.size === 0 ? 'none' : `no connections and deadlines, but ${size} and ${wheel.size}`;
  }
}

function listenersOf(emitter: EventEmitter): string {
  return emitter
    .eventNames()
    .map((name) => `${String(name)}: ${emitter.listenerCount(name)}`)
    .sort()
    .join(', ');
}
