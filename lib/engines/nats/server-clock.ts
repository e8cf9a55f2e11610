import type { NatsContext } from './nats.event-log.js';
import type { NatsStream } from './stream.js';

const FRESH_MS = 10_000;

/**
 * What time it is for the server, which stamps messages. Instances agree on it, where their own clocks
 * may be minutes apart; no request of JetStream's before 2.10 tells it.
 */
export class ServerClock {
  readonly #context: NatsContext;
  readonly #stream: NatsStream;
  readonly #subject: string;
  #readAt = -Infinity;
  #time = 0;

  constructor(context: NatsContext, stream: NatsStream, subject: string) {
    this.#context = context;
    this.#stream = stream;
    this.#subject = subject;
  }

  /** Milliseconds since 1970; never more than the server's own clock says. */
  async now(): Promise<number> {
    if (performance.now() - this.#readAt > FRESH_MS) {
      const message = { subject: this.#subject, data: new Uint8Array(), headers: [] };
      await this.#context.publisher.publish(this.#stream.name, message, performance.now());
      const stamped = await this.#stream.message({ last_by_subj: this.#subject });
      this.#readAt = performance.now();
      this.#time = stamped!.time;
    }
    return this.#time + (performance.now() - this.#readAt);
  }
}
