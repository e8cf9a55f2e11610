import { SseClient } from 'nestjs-event-stream/client';
import { GapCheck } from './gap-check.js';

const STATES = {
  connecting: 'Connecting',
  open: 'Being read',
  waiting: 'Connecting again',
  closed: 'Closed',
};
const sse = new SseClient();

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
  isReading = true;
  #wake = () => undefined;
  #paused;
  #feed;

  /** @param {{ latest: boolean }} options whether it wants all, or the newest */
  constructor({ latest }) {
    void this.#read(latest);
  }

  get state() {
    return STATES[this.#feed.status];
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
    this.#feed.close();
    this.#wake();
  }

  // #region slow-client
  async #read(latest) {
    const url = `/dashboard/parcels?latest=${latest}`;
    this.#feed = sse.follow(url, undefined, {
      onReset: (reason) => {
        this.reset = reason;
        this.parcels.startAnew();
      },
    });
    for await (const { id, data } of this.#feed) {
      this.position = id;
      this.parcels.take(data);
      // While the loop does not go on, the client reads no further than 1,000
      // events. That fills the browser's buffers, then those of the network.
      // Then the server's socket takes no more.
      await this.#paused;
    }
  }
  // #endregion
}
