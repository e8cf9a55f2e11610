import type { EventEmitter } from 'node:events';
import { OutgoingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Chunk } from '../wire/index.js';
import { isGone, needsDrain, watchAnswer } from '../http/index.js';
import type { ChunkWrites, DirectOutput } from './chunk-writes.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { Platform, RawResponse } from '../http/index.js';
import type { TurnWrites } from './turn-writes.js';

/** How many chunks went to the socket as they were, and how many through the response. */
export interface WriteCounts {
  direct: number;
  throughResponse: number;
}

/** Whoever is told how the client keeps up. */
export interface OutputOwner {
  /** It takes no more of the chunks. */
  onFull(): void;
  /** It takes more again. */
  onDrained(): void;
  /** The response threw as it was written to, of itself or by a wrapper: it takes nothing any more. */
  onBroken(error: unknown): void;
}

/** What Node's own response says beyond HTTP/2's. */
interface Http1Response extends RawResponse {
  readonly chunkedEncoding: boolean;
}

// What is joined to one write at most: more would copy much, and hide that the client lags.
const JOINED_BYTES = 65_536;
// A wrapper that says it is full, over a response that is not, may never say that it is empty.
const CHECK_AGAIN_MS = 1_000;

// ServerResponse inherits it: what stands on that class, or on Express's response, is not Node's own.
const NODE_WRITE = Reflect.get(OutgoingMessage.prototype, 'write') as unknown;

/**
 * The bytes of one response. Frames that were made for many clients go to the socket as one Buffer
 * with their chunk header, past the response, wherever that is the same to the client: it saves
 * Node's four writes for a chunk.
 */
export class ResponseOutput implements DirectOutput {
  // What is looked at for each client of each event stands first, side by side in memory.
  #isOpen = true;
  /** Which of the two was full last, the response or its socket: each tells of its own writes alone. */
  #full: Full | undefined;
  /**
   * The socket, while it may be written to past the response. Asked anew after each write through
   * that: Express gives every response a shape of its own, and V8 takes a microsecond to look into each.
   */
  #direct: Socket | undefined;
  readonly #raw: RawResponse;
  /** Frames that leave in one write. */
  #queued: TurnWrites | undefined;
  #lastByteAt = 0;
  readonly #counts: WriteCounts;
  readonly #wheel: DeadlineWheel;
  readonly #owner: OutputOwner;
  readonly #hasBody: boolean;
  /** Whether anything went through the response, which sends the headers with the first bytes. */
  #hasWritten = false;
  #corked: Socket | undefined;

  constructor(
    platform: Platform,
    owner: OutputOwner,
    { writeCounts, wheel }: { writeCounts: WriteCounts; wheel: DeadlineWheel },
  ) {
    this.#raw = platform.raw;
    // HTTP/2 fails a write where no body may be: RFC 9110, section 9.3.2.
    this.#hasBody = platform.method !== 'HEAD';
    this.#counts = writeCounts;
    this.#wheel = wheel;
    this.#owner = owner;
  }

  /** Whether what is written now may reach the client. */
  get isWritable(): boolean {
    return this.#direct ? !this.#direct.destroyed : !this.#raw.writableEnded && !isGone(this.#raw);
  }

  /** Whether the socket takes more. */
  get keepsUp(): boolean {
    return this.#full === undefined;
  }

  /** Bytes that wait for the client in this process, those of the protocol's framing included. */
  get waitingBytes(): number {
    // A socket of straw, as serverless adapters have it, has no length: the sum is NaN.
    return (this.#raw.writableLength || 0) + (this.#queued?.bytes ?? 0);
  }

  /** By the wheel's clock. */
  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  write(text: string): void {
    this.flush();
    this.#direct = undefined;
    if (this.#hasBody) {
      // As bytes: a socket counts the characters of a text, a third of what Chinese takes.
      this.#pass(Buffer.from(text));
    }
  }

  /** Writes frames now. */
  writeChunk(chunk: Chunk): void {
    this.flush();
    this.#writeChunk(chunk);
  }

  /** Writes frames when `writes` are flushed, in this turn. */
  stageChunk(chunk: Chunk, writes: ChunkWrites): void {
    this.flush();
    this.#stageChunk(chunk, writes);
  }

  /**
   * Keeps frames until they are flushed, to leave in one write with those that follow.
   *
   * @param start where the frames of all clients begin that are flushed together
   */
  queueChunk(chunk: Chunk, start: TurnWrites): void {
    if (this.#direct || this.#takesChunks) {
      this.#queued = (this.#queued ?? start).after(chunk);
      if (this.#queued.bytes >= JOINED_BYTES) {
        this.flush();
      }
    }
  }

  get hasQueued(): boolean {
    return this.#queued !== undefined;
  }

  /** Writes what was queued when `writes` are flushed, in this turn. */
  stageQueued(writes: ChunkWrites): void {
    const queued = this.#queued;
    this.#queued = undefined;
    if (queued) {
      this.#stageChunk(queued.chunk, writes);
    }
  }

  /** Writes what was queued, now. */
  flush(): void {
    const queued = this.#queued;
    this.#queued = undefined;
    if (queued) {
      this.#writeChunk(queued.chunk);
    }
  }

  /** Has what follows leave in one write with what is written until {@link uncork}. */
  cork(): void {
    if (!this.#corked) {
      this.#corked = this.#findDirect();
      this.#corked?.cork();
    }
  }

  uncork(): void {
    this.#corked?.uncork();
    this.#corked = undefined;
  }

  /** Whether what is written to the socket is still of this response. */
  passesTo(socket: Socket): boolean {
    return this.#direct === socket;
  }

  /** A write has been taken, and one more would be too many. */
  onFull(emitter: EventEmitter): void {
    this.#waitFor(emitter);
    this.#owner.onFull();
  }

  /** A write threw. */
  onBroken(error: unknown): void {
    this.#owner.onBroken(error);
  }

  /** Takes no more chunks; text it does, for a farewell. */
  close(): void {
    this.#isOpen = false;
    this.#direct = undefined;
    this.#queued = undefined;
  }

  /** The response was ended, by whomever. Its last bytes are written, if not out, and none may follow on its socket. */
  onEnd(): void {
    this.#direct = undefined;
  }

  /** Leaves no listener behind, on a socket that goes on to serve other requests least of all. */
  release(): void {
    this.#forgetFull();
  }

  get #takesChunks(): boolean {
    return this.#isOpen && this.#hasBody && !this.#raw.writableEnded;
  }

  #writeChunk(chunk: Chunk): void {
    const socket = this.#findDirect();
    if (!socket) {
      this.#writeThroughResponse(chunk);
      return;
    }
    this.#lastByteAt = this.#wheel.now();
    this.#counts.direct += 1;
    this.writeTo(socket, chunk);
  }

  /** Writes a chunk past the response. */
  writeTo(socket: Socket, chunk: Chunk): void {
    try {
      if (!socket.write(chunk.chunk)) {
        this.onFull(socket);
      }
    } catch (error) {
      this.#owner.onBroken(error);
    }
  }

  #stageChunk(chunk: Chunk, writes: ChunkWrites): void {
    const socket = this.#findDirect();
    if (!socket) {
      this.#writeThroughResponse(chunk);
      return;
    }
    this.#lastByteAt = writes.now;
    this.#counts.direct += 1;
    writes.add(this, socket, chunk);
  }

  #writeThroughResponse(chunk: Chunk): void {
    if (!this.#takesChunks || isGone(this.#raw)) {
      return;
    }
    this.#counts.throughResponse += 1;
    this.#pass(chunk.frame);
  }

  /**
   * Writes through the response. Loggers, sessions and compressions wrap `write`: theirs may throw, return anything,
   * and fail on an argument that is there and undefined, which is why there is no callback.
   */
  #pass(bytes: Buffer): void {
    this.#lastByteAt = this.#wheel.now();
    this.#hasWritten = true;
    try {
      const taken: unknown = this.#raw.write(bytes);
      if (typeof taken === 'object') {
        watchAnswer(taken, (error) => this.#owner.onBroken(error));
      }
      // Neither true nor false is no answer; neither is false of a response that will never say 'drain'.
      const isFull = typeof taken === 'boolean' ? !taken : needsDrain(this.#raw) && this.waitingBytes > 0;
      if (isFull) {
        this.onFull(this.#raw);
      }
    } catch (error) {
      this.#owner.onBroken(error);
    }
  }

  #findDirect(): Socket | undefined {
    if (!this.#direct && this.#hasWritten && this.#takesChunks) {
      this.#direct = plainSocketOf(this.#raw as Http1Response);
    }
    // A compression wraps it, early or late, or a monitoring agent patches the class: neither would see what goes past.
    return this.#raw.write === NODE_WRITE ? this.#direct : undefined;
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
    this.#full = { emitter, onDrain, nextCheck: undefined };
    emitter.on('drain', onDrain);
    if (emitter === this.#raw && !needsDrain(this.#raw)) {
      this.#checkLater();
    }
  }

  /** Node's own response will not say 'drain': what stands over it may, or it may not. */
  #checkLater(): void {
    const full = this.#full!;
    full.nextCheck = this.#wheel.schedule(CHECK_AGAIN_MS, () => {
      if (this.waitingBytes > 0) {
        this.#checkLater();
      } else {
        full.onDrain();
      }
    });
  }

  #forgetFull(): void {
    this.#full?.emitter.removeListener('drain', this.#full.onDrain);
    this.#wheel.cancel(this.#full?.nextCheck);
    this.#full = undefined;
  }
}

/** A response or a socket that takes no more for now. */
interface Full {
  readonly emitter: EventEmitter;
  readonly onDrain: () => void;
  /** Absent where its 'drain' is sure to come. */
  nextCheck: Deadline | undefined;
}

/**
 * The socket, where a chunk that is written to it reaches the client as one of the response: not on
 * HTTP/2, not for HTTP/1.0 or a response of a known length, which have no chunks, and not under
 * Fastify's inject(), whose socket goes nowhere.
 */
function plainSocketOf(raw: Http1Response): Socket | undefined {
  const { socket } = raw;
  const canPass =
    raw.chunkedEncoding &&
    socket instanceof Socket &&
    // What waits in the response would be overtaken. What waits in the socket, corked or not, would not.
    raw.writableLength === socket.writableLength;
  return canPass ? socket : undefined;
}
