import type { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import { Chunk, HEARTBEAT } from '../wire/index.js';
import type { SharedStreams } from '../compression/index.js';
import { isGone, isNodeWrite, needsDrain, watchAnswer, writeUnderOurs } from '../http/index.js';
import type { ChunkWrites, DirectOutput } from './chunk-writes.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { ContentCoding, Covered, Platform, RawResponse } from '../http/index.js';
import type { TurnWrites } from './turn-writes.js';

/** Counts of what was written to all responses of a process. */
export interface WriteCounts {
  /** Chunks that went to the socket as they were. */
  direct: number;
  /** Chunks that went through the response. */
  throughResponse: number;
  /** Events: see {@link ResponseOutput.countEvents}. */
  events: number;
  /** Bytes of all frames and comments as they were written: compressed or not, without the framing of HTTP. */
  bytes: number;
  /** UTF-8 bytes that compression has saved of these. */
  savedBytes: number;
}

/** The response of an output. */
export interface OutputOwner {
  /** The socket takes no more. */
  onFull(): void;
  /** The socket takes more again. */
  onDrained(): void;
  /** A write threw, in Node's response or in a wrapper. Nothing can be written any more. */
  onBroken(error: unknown): void;
  /** The bytes are not compressed, because a middleware has wrapped the response's `write`. */
  onWrapped(): void;
}

/** The registry, as an output sees it. */
export interface OutputServices {
  readonly writeCounts: WriteCounts;
  readonly wheel: DeadlineWheel;
  readonly sharedStreams: SharedStreams;
}

/** Properties of Node's HTTP/1 response that HTTP/2 does not have. */
interface Http1Response extends RawResponse {
  readonly chunkedEncoding: boolean;
}

// The most bytes that are joined to one write. A larger join would copy much, and show late that the client lags.
const JOINED_BYTES = 65_536;
// A wrapper that returns false over a response that is not full may never emit 'drain'.
const CHECK_AGAIN_MS = 1_000;

/**
 * The bytes of one response. A frame that is sent to many clients goes to the socket as one Buffer with its chunk
 * header, past the response, if that makes no difference to the client. This saves Node's four writes for a chunk.
 */
export class ResponseOutput implements DirectOutput {
  // Fields that are read for each client of each event stand first, side by side in memory.
  #isOpen = true;
  /** The response or the socket, whichever was full last. Each emits 'drain' for its own writes only. */
  #full: Full | undefined;
  /**
   * The socket, while frames may bypass the response. It is looked up again after each write through the response, not
   * for each frame: Express gives every response a hidden class of its own, and V8 takes a microsecond for each.
   */
  #direct: Socket | undefined;
  readonly #raw: RawResponse;
  /** Frames that leave in one write. */
  #queued: TurnWrites | undefined;
  /** Bytes that were written for this client alone since it kept up last. */
  #ownBytes = 0;
  #lastByteAt = 0;
  readonly #counts: WriteCounts;
  readonly #wheel: DeadlineWheel;
  readonly #owner: OutputOwner;
  readonly #hasBody: boolean;
  /** Whether anything went through the response, which sends the headers with the first bytes. */
  #hasWritten = false;
  #corked: Socket | undefined;

  constructor(platform: Platform, owner: OutputOwner, { writeCounts, wheel }: OutputServices) {
    this.#raw = platform.raw;
    // HTTP/2 fails a write to a response that may have no body: RFC 9110, section 9.3.2.
    this.#hasBody = platform.method !== 'HEAD';
    this.#counts = writeCounts;
    this.#wheel = wheel;
    this.#owner = owner;
  }

  /** Whether bytes that are written now may reach the client. */
  get isWritable(): boolean {
    return this.#direct ? !this.#direct.destroyed : !this.#raw.writableEnded && !isGone(this.#raw);
  }

  /** The compression that the headers may announce. */
  get coding(): ContentCoding | undefined {
    return undefined;
  }

  /** Whether the bytes are compressed. Known once the headers are sent. */
  get isCompressed(): boolean {
    return false;
  }

  /** Whether the socket takes more. */
  get keepsUp(): boolean {
    return this.#full === undefined;
  }

  /** Bytes that wait for the client in this process, including the framing of the protocol. */
  get waitingBytes(): number {
    // The fake socket of a serverless adapter has no length: the sum is NaN.
    return (this.#raw.writableLength || 0) + (this.#queued?.bytes ?? 0);
  }

  /**
   * Bytes of {@link waitingBytes} that were written for this client alone, at most; 0 if it keeps up. Chunks that are
   * staged, queued or written as shared are in memory once for all clients.
   */
  get ownWaitingBytes(): number {
    return this.#full ? Math.min(this.#ownBytes, this.waitingBytes) : 0;
  }

  /** By the wheel's clock. */
  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  write(text: string): void {
    // As bytes: for a text, a socket counts the characters, and Chinese takes three bytes for each.
    this.writeBytes(Buffer.from(text));
  }

  /** Writes bytes as they are, through the response. */
  protected writeBytes(bytes: Buffer): void {
    this.flush();
    this.#direct = undefined;
    if (this.#hasBody) {
      this.#countOwn(bytes.length);
      this.#pass(bytes);
    }
  }

  /** Counts events that are about to be written. Frames that only tell a client its place are none. */
  countEvents(count: number): void {
    this.#counts.events += count;
  }

  /** Writes frames of this client alone now. */
  writeChunk(chunk: Chunk): void {
    this.flush();
    this.#countOwn(chunk.frame.length);
    this.#writeChunk(chunk);
  }

  /** Writes frames of several events now, for this client alone. */
  writeChunks(chunks: readonly Chunk[]): void {
    this.writeChunk(Chunk.join(chunks));
  }

  /** The bytes that frames take as they are written. */
  sizeOf(chunk: Chunk): number {
    return chunk.frame.length;
  }

  /** Writes frames now that other clients get as well: they take no memory for this client alone. */
  writeShared(chunk: Chunk): void {
    this.flush();
    this.#writeChunk(chunk);
  }

  /** Writes frames now that all clients of a shared stream get: see {@link share}. */
  writeLive(chunk: Chunk): void {
    this.writeShared(chunk);
  }

  /** Writes a heartbeat now. */
  beat(): void {
    this.write(HEARTBEAT);
  }

  /** What the fan-out writes from here on is a shared stream: the same for all clients with that key. */
  share(_key: string): void {
    return;
  }

  /** What the fan-out writes from here on is for this client alone. */
  unshare(): void {
    return;
  }

  /** Adds frames to `writes`, which are flushed in this turn. */
  stageChunk(chunk: Chunk, writes: ChunkWrites): void {
    this.flush();
    this.#stageChunk(chunk, writes);
  }

  /**
   * Queues frames, to leave in one write with those that follow.
   *
   * @param start - the root of the frames of all clients that are flushed together
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

  /** Adds the queued frames to `writes`, which are flushed in this turn. */
  stageQueued(writes: ChunkWrites): void {
    const queued = this.#queued;
    this.#queued = undefined;
    if (queued) {
      this.#stageChunk(queued.chunk, writes);
    }
  }

  /** Writes the queued frames now. */
  flush(): void {
    const queued = this.#queued;
    this.#queued = undefined;
    if (queued) {
      this.#writeChunk(queued.chunk);
    }
  }

  /** Holds back all writes until {@link uncork}, to leave as one. */
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

  passesTo(socket: Socket): boolean {
    return this.#direct === socket;
  }

  /** A write was taken, but the emitter is full now. */
  onFull(emitter: EventEmitter): void {
    this.#waitFor(emitter);
    this.#owner.onFull();
  }

  /** A write threw. */
  onBroken(error: unknown): void {
    this.#owner.onBroken(error);
  }

  /** Handles a call of the response's `write`, while {@link isCompressed}. */
  onWrite(args: readonly unknown[], covered: Covered | undefined): unknown {
    return writeUnderOurs(this.#raw, covered, args);
  }

  /** Writes what other code passes to the response's `end`, if it cannot be written as it is. Returns what is left. */
  takeLast(args: readonly unknown[]): readonly unknown[] {
    return args;
  }

  /** Takes no more chunks. Text is still taken, for closing frames. */
  close(): void {
    this.#isOpen = false;
    this.#direct = undefined;
    this.#queued = undefined;
  }

  /** The response was ended. Its last bytes are written, and none may follow on its socket. */
  onEnd(): void {
    this.#direct = undefined;
  }

  /** Removes all listeners. The socket may serve other requests. */
  release(): void {
    this.#forgetFull();
  }

  /** Before the bytes are written: the owner asks for them if the write makes the socket full. */
  #countOwn(bytes: number): void {
    this.#ownBytes = this.#full ? this.#ownBytes + bytes : bytes;
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
    this.#counts.bytes += chunk.frame.length;
    this.writeTo(socket, chunk);
  }

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
    this.#counts.bytes += chunk.frame.length;
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
   * Writes through the response. Loggers, sessions and compressions wrap `write`. A wrapper may throw, return anything,
   * and fail on a callback that is undefined: there is none.
   */
  #pass(bytes: Buffer): void {
    this.#lastByteAt = this.#wheel.now();
    this.#hasWritten = true;
    this.#counts.bytes += bytes.length;
    try {
      const taken = this.pass(bytes, this.#raw);
      if (typeof taken === 'object') {
        watchAnswer(taken, (error) => this.#owner.onBroken(error));
      }
      // A result that is neither true nor false says nothing: then the response itself is asked.
      const isFull = typeof taken === 'boolean' ? !taken : needsDrain(this.#raw) && this.waitingBytes > 0;
      if (isFull) {
        this.onFull(this.#raw);
      }
    } catch (error) {
      this.#owner.onBroken(error);
    }
  }

  /** Calls the response's `write`, which may be a wrapper's. */
  protected pass(bytes: Buffer, raw: RawResponse): unknown {
    return raw.write(bytes);
  }

  #findDirect(): Socket | undefined {
    if (!this.#direct && this.#hasWritten && this.#takesChunks) {
      this.#direct = plainSocketOf(this.#raw as Http1Response);
    }
    // A compression may wrap `write` at any time, and a monitoring agent may patch the class. Neither would see a chunk
    // that goes past the response.
    return this.#direct && hasNodeWrite(this.#raw) ? this.#direct : undefined;
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

  /** Node's own response will emit no 'drain'. A wrapper may, or may not. */
  #checkLater(): void {
    const full = this.#full!;
    full.nextCheck = this.#wheel.schedule(CHECK_AGAIN_MS, () => {
      if (this.waitingBytes > 0) {
        this.#checkLater();
      } else {
        // What waits comes first: a heartbeat that is due in this turn would be written before it, and be full again.
        this.#lastByteAt = this.#wheel.now();
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

/** A response or a socket that takes no more at the moment. */
interface Full {
  readonly emitter: EventEmitter;
  readonly onDrain: () => void;
  /** Absent if a 'drain' is certain. */
  nextCheck: Deadline | undefined;
}

/**
 * Checks that a response still writes by Node's own `write`.
 *
 * The response and its prototype are read apart, because this runs for each client of each event. Express gives each
 * response a hidden class of its own, and V8's cache for `raw.write` holds a thousand or two of them. Past that a plain
 * read takes 15 times as long with 5,000 clients, and 50 times with 20,000.
 */
function hasNodeWrite(raw: RawResponse): boolean {
  const holder: unknown = Object.hasOwn(raw, 'write') ? raw : Object.getPrototypeOf(raw);
  return isNodeWrite((holder as { readonly write: unknown }).write);
}

/**
 * Returns the socket, if a chunk that is written to it reaches the client as one of the response. That excludes HTTP/2,
 * HTTP/1.0 and responses of a known length, which have no chunks, and Fastify's inject(), whose socket goes nowhere.
 */
function plainSocketOf(raw: Http1Response): Socket | undefined {
  const { socket } = raw;
  const canPass =
    raw.chunkedEncoding &&
    socket instanceof Socket &&
    isNodeWrite(Reflect.get(raw, 'write')) &&
    // The chunk would overtake bytes that wait in the response. It does not overtake those in the socket.
    raw.writableLength === socket.writableLength;
  return canPass ? socket : undefined;
}
