import { commitHeaders } from '../http/index.js';
import type { ContentCoding, Platform } from '../http/index.js';

/** The side that sends the headers and ends the response: this package, or Nest on an `@Sse()` route. */
export interface ResponseOwner {
  /**
   * Sends the headers, or has them sent. Calls `onHeaders` once they are out.
   *
   * @param coding - given if the response may be compressed
   */
  commit(onHeaders: () => void, coding?: ContentCoding): void;
  /** Ends the response after what was written. */
  end(): void;
  /** The response is disposed. Not called for one that was released. */
  onDisposed?(): void;
  /** Something waits for the headers, and nothing has asked for them so far. */
  onWaiting?(what: WaitsForHeaders): void;
}

/** What can wait for the headers: a frame, a feed, or code of the app that awaits the end of the connection. */
export type WaitsForHeaders = 'frame' | 'feed' | 'end';

/** The owner of a response that the app has handed over with `@Res()`: this package answers it. */
export class OwnResponse implements ResponseOwner {
  readonly #platform: Platform;
  readonly #headers: Readonly<Record<string, string>> | undefined;

  /** @param headers - sent besides those of every event stream */
  constructor(platform: Platform, headers: Readonly<Record<string, string>> | undefined) {
    this.#platform = platform;
    this.#headers = headers;
  }

  commit(onHeaders: () => void, coding?: ContentCoding): void {
    // The app may have sent them itself, with writeHead or flushHeaders.
    if (this.#platform.raw.headersSent) {
      this.#platform.takeOver();
    } else {
      commitHeaders(this.#platform, this.#headers, coding);
    }
    onHeaders();
  }

  end(): void {
    this.#platform.raw.end();
  }
}
