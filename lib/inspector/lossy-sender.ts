import type { SseConnection } from '../index.js';

/** Sends events to a page, and leaves out those that come while it does not read: the next one says more. */
export class LossySender {
  readonly #connection: SseConnection;
  #keepsUp = true;

  constructor(connection: SseConnection) {
    this.#connection = connection;
  }

  /** @returns whether the event was sent */
  send(event: { type: string; data: object }): boolean {
    if (!this.#keepsUp) {
      return false;
    }
    this.#keepsUp = this.#connection.send(event);
    if (!this.#keepsUp) {
      void this.#connection.drained().then(() => (this.#keepsUp = true));
    }
    return true;
  }
}
