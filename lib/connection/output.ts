import type { EventEmitter } from 'node:events';
import { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Chunk } from '../wire/index.js';
import { isGone } from './platform.js';
import type { Platform, RawResponse } from './platform.js';

/** How many chunks went to the socket as they were, and how many through the response. */
export interface WriteCounts {
  direct: number;
  throughResponse: number;
}

/** Whoever is told that the socket takes more again. */
export interface OutputOwner {
  onDrained(): void;
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
  readonly #owner: OutputOwner;
  /** Whether anything went through the response, which sends the headers with the first bytes. */
  #hasWritten = false;
  /** Undefined until the headers are out; false where the socket must not be written to. */
  #socket: Socket | false | undefined;
  #isCorked = false;
  /** Which of the two was full last, the response or its socket: each tells of its own writes alone. */
  #full: { readonly emitter: EventEmitter; readonly onDrain: () => void } | undefined;

  constructor(platform: Platform, counts: WriteCounts, owner: OutputOwner) {
    this.#raw = platform.raw;
    // HTTP/2 fails a write where no body may be: RFC 9110, section 9.3.2.
    this.#hasBody = platform.method !== 'HEAD';
    this.#counts = counts;
    this.#owner = owner;
  }

  /** Whether the socket takes more. */
  get keepsUp(): boolean {
    return this.#full === undefined;
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
      this.#waitFor(this.#raw);
    }
  }

  writeChunk(chunk: Chunk): void {
    if (!this.#hasBody) {
      return;
    }
    const socket = this.#directSocket();
    if (!socket) {
      this.#writeThroughResponse(chunk);
      return;
    }
    this.#counts.direct += 1;
    if (!socket.write(chunk.chunk)) {
      this.#waitFor(socket);
    }
  }

  #writeThroughResponse(chunk: Chunk): void {
    if (isGone(this.#raw)) {
      return;
    }
    this.#hasWritten = true;
    this.#counts.throughResponse += 1;
    if (!this.#raw.write(chunk.frame)) {
      this.#waitFor(this.#raw);
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
    this.#forgetFull();
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

  #waitFor(emitter: EventEmitter): void {
    if (this.#full?.emitter === emitter) {
      return;
    }
    this.#forgetFull();
    const onDrain = (): void => {
      this.#forgetFull();
      this.#owner.onDrained();
    };
    this.#full = { emitter, onDrain };
    emitter.on('drain', onDrain);
  }

  #forgetFull(): void {
    this.#full?.emitter.removeListener('drain', this.#full.onDrain);
    this.#full = undefined;
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
