import type { Socket } from 'node:net';
import type { EventStreamResponse } from './event-stream-response.js';

/**
 * Responses that wait for their turn on the socket of an HTTP/1.1 client, which has sent further requests behind one
 * that is answered with a stream (RFC 9112, section 9.3.2). Browsers do not do that.
 */
export class Pipelines {
  readonly #maxPerSocket: number;
  readonly #waiting = new Map<EventStreamResponse, Socket>();
  readonly #counts = new WeakMap<Socket, number>();

  constructor(maxPerSocket: number) {
    this.#maxPerSocket = maxPerSocket;
  }

  /** The number of responses that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  has(response: EventStreamResponse): boolean {
    return this.#waiting.has(response);
  }

  /** Whether as many responses as are allowed wait on a socket. */
  isFull(socket: Socket): boolean {
    return (this.#counts.get(socket) ?? 0) >= this.#maxPerSocket;
  }

  add(response: EventStreamResponse, socket: Socket): void {
    this.#waiting.set(response, socket);
    this.#counts.set(socket, (this.#counts.get(socket) ?? 0) + 1);
  }

  /** Removes a response. @returns whether it has waited */
  delete(response: EventStreamResponse): boolean {
    const socket = this.#waiting.get(response);
    if (socket) {
      this.#counts.set(socket, this.#counts.get(socket)! - 1);
    }
    return this.#waiting.delete(response);
  }
}
