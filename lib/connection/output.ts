import { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Chunk } from '../wire/index.js';
import type { Platform, RawResponse } from './platform.js';

/** How many chunks went to the socket as they were, and how many through the response. */
export interface WriteCounts {
  direct: number;
  throughResponse: number;
}

/** What Node's own response says beyond HTTP/2's. */
interface Http1Response extends RawResponse {
  readonly chunkedEncoding: boolean;
}

/**
 * The bytes of one response. Frames that were made for many clients go to the socket as one Buffer
 * with their chunk header, past the response, wherever that is the same to the client: it saves
 * Node's four writes for a chunk.
 */
export class ResponseOutput {
  readonly #raw: RawResponse;
  readonly #hasBody: boolean;
  readonly #counts: WriteCounts;
  readonly #onDrained: () => void;
  #needsDrain = false;
  /** Whether anything went through the response, which sends the headers with the first bytes. */
  #hasWritten = false;
  /** Undefined until the headers are out; false where the socket must not be written to. */
  #socket: Socket | false | undefined;
  #waitsForSocket = false;
  #isCorked = false;

  constructor(platform: Platform, counts: WriteCounts, onDrained: () => void) {
    this.#raw = platform.raw;
    // HTTP/2 fails a write where no body may be: RFC 9110, section 9.3.2.
    this.#hasBody = platform.method !== 'HEAD';
    this.#counts = counts;
    this.#onDrained = onDrained;
    this.#raw.on('drain', this.#onDrain);
  }

  /** Whether the socket takes more. */
  get keepsUp(): boolean {
    return !this.#needsDrain;
  }

  /** Bytes that wait for the client in this process, those of the protocol's framing included. */
  get waitingBytes(): number {
    return this.#raw.writableLength;
  }

  /** @param onFlushed called when the bytes have left this process, or never will */
  write(text: string, onFlushed?: () => void): void {
    this.#hasWritten = true;
    // As bytes: a socket counts the characters of a text, a third of what Chinese takes.
    if (this.#hasBody && !this.#raw.write(Buffer.from(text), onFlushed)) {
      this.#needsDrain = true;
    }
  }

  writeChunk(chunk: Chunk): void {
    if (!this.#hasBody) {
      return;
    }
    const socket = this.#directSocket();
    if (!socket) {
      this.#hasWritten = true;
      this.#counts.throughResponse += 1;
      if (!this.#raw.write(chunk.frame)) {
        this.#needsDrain = true;
      }
      return;
    }
    this.#counts.direct += 1;
    if (!socket.write(chunk.chunk)) {
      this.#needsDrain = true;
      if (!this.#waitsForSocket) {
        // The response tells of its own writes alone.
        this.#waitsForSocket = true;
        socket.once('drain', this.#onSocketDrain);
      }
    }
  }

  /** Has what follows leave in one write with what is written until {@link uncork}. */
  cork(): void {
    const socket = this.#isCorked ? undefined : this.#directSocket();
    if (socket) {
      this.#isCorked = true;
      socket.cork();
    }
  }

  uncork(): void {
    if (this.#isCorked && this.#socket) {
      this.#isCorked = false;
      this.#socket.uncork();
    }
  }

  /** Leaves no listener behind, on a socket that goes on to serve other requests least of all. */
  release(): void {
    this.#raw.removeListener('drain', this.#onDrain);
    if (this.#waitsForSocket && this.#socket) {
      this.#socket.removeListener('drain', this.#onSocketDrain);
    }
  }

  #directSocket(): Socket | undefined {
    if (!this.#hasWritten) {
      return undefined;
    }
    this.#socket ??= plainSocketOf(this.#raw);
    const socket = this.#socket;
    if (socket === false) {
      return undefined;
    }
    const canPass =
      // A response that is over has no socket; the one that it had may serve another.
      this.#raw.socket === socket &&
      // What waits in the response would be overtaken. What waits in the socket, corked or not, would not.
      this.#raw.writableLength === socket.writableLength &&
      // A compression, say, wraps it, and would not see what goes past.
      this.#raw.write === ServerResponse.prototype.write;
    return canPass ? socket : undefined;
  }

  readonly #onDrain = (): void => {
    this.#drained();
  };

  readonly #onSocketDrain = (): void => {
    this.#waitsForSocket = false;
    this.#drained();
  };

  #drained(): void {
    if (this.#needsDrain) {
      this.#needsDrain = false;
      this.#onDrained();
    }
  }
}

/**
 * The socket, where a chunk that is written to it reaches the client as one of the response: not on
 * HTTP/2, not for HTTP/1.0 or a response of a known length, which have no chunks, and not under
 * Fastify's inject(), whose socket goes nowhere.
 */
function plainSocketOf(raw: RawResponse): Socket | false {
  const isChunked = (raw as Http1Response).chunkedEncoding;
  return isChunked && raw.socket instanceof Socket ? raw.socket : false;
}
