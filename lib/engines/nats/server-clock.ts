import type { NatsContext } from './nats.event-log.js';
import type { NatsStream } from './stream.js';

const FRESH_MS = 10_000;

/**
 * The server's time, from the timestamps of its messages. Instances agree on it, although their own clocks may differ
 * by minutes. JetStream before 2.10 has no request for it.
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

  /** Returns milliseconds since 1970, never more than the server's clock. */
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
