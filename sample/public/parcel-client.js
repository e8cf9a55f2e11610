import { EventSourceParserStream } from 'eventsource-parser/stream';
import { GapCheck } from './gap-check.js';

const RETRY_MS = 1000;

/**
 * A client of /dashboard/parcels that can stop reading, which an EventSource
 * cannot.
 */
export class ParcelClient {
  /** What it has read, and what it was not sent. */
  parcels = new GapCheck();
  /** Its place in the log. */
  position;
  /** Why the log could not go on from its place, where it once could not. */
  reset;
  state = 'Connecting';
  isReading = true;
  #wake = () => undefined;
  #paused;
  #leaving = new AbortController();

  /** @param {{ latest: boolean }} options whether it wants all, or the newest */
  constructor({ latest }) {
    void this.#run(latest);
  }

  stopReading() {
    this.isReading = false;
    this.#paused = new Promise((resolve) => (this.#wake = resolve));
  }

  readOn() {
    this.isReading = true;
    this.#wake();
  }

  close() {
    this.#leaving.abort();
    this.#wake();
  }

  async #run(latest) {
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      try {
        await this.#read(latest);
      } catch {
        // Left, or lost: the server closes a client that reads nothing for a
        // minute. It comes back with its place in the log all the same.
      }
      this.state = 'Connecting again';
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  // #region slow-client
  async #read(latest) {
    const query = new URLSearchParams({ latest });
    if (this.position) {
      query.set('lastEventId', this.position);
    }
    const { body } = await fetch(`/dashboard/parcels?${query}`, {
      cache: 'no-store',
      signal: this.#leaving.signal,
    });
    const events = body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    this.state = 'Being read';

    for (;;) {
      // Not reading fills the browser's buffers, then those of the network.
      // Then the server's socket takes no more.
      await this.#paused;
      const { done, value } = await events.read();
      if (done) {
        return;
      }
      this.#take(value);
    }
  }

  #take({ id, event, data }) {
    if (id) {
      this.position = id;
    }
    if (event === 'reset') {
      this.reset = JSON.parse(data).reason;
      this.parcels.startAnew();
    } else if (event === 'parcel') {
      this.parcels.take(JSON.parse(data));
    }
  }
  // #endregion
}
