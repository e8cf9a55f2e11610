import type { Socket } from 'node:net';
import { acceptsGzip, blocksOf, compressFrames, GZIP_HEAD } from '../compression/index.js';
import type { SharedFrames, SharedStream, SharedStreamMember, SharedStreams } from '../compression/index.js';
import { needsDrain, writeUnderOurs } from '../http/index.js';
import type { ContentCoding, Covered, Platform, RawResponse } from '../http/index.js';
import { Chunk, HEARTBEAT } from '../wire/index.js';
import type { ChunkWrites } from './chunk-writes.js';
import { ResponseOutput } from './output.js';
import type { OutputOwner, OutputServices, WriteCounts } from './output.js';
import type { Compression } from './response-host.js';
import type { TurnWrites } from './turn-writes.js';

const NOTHING = Buffer.alloc(0);
const OUT_OF_STEP = -1;

/**
 * The bytes of a response that is compressed if its headers can still say so. Each event becomes a block once, for all
 * clients, and everything that is written is such a block. A connection without compression has a plain
 * {@link ResponseOutput}, and pays nothing for this.
 */
export class CompressedOutput extends ResponseOutput implements ContentCoding, SharedStreamMember {
  readonly isAccepted: boolean;
  readonly #raw: RawResponse;
  readonly #owner: OutputOwner;
  readonly #counts: WriteCounts;
  /** Whether the headers say that the body is compressed. */
  #isOn = false;
  #hasHead = false;
  /** Whether the response's `write` is called by this output, and not by other code. */
  #isPassing = false;
  readonly #streams: SharedStreams;
  #key: string | undefined;
  /** What other clients get as well, whole and in the same order. */
  #shared: SharedStream | undefined;
  /** Where in the shared stream the client is; -1 if it has been written something else since. */
  #place = OUT_OF_STEP;
  /** Since where in the shared stream it has got everything, and nothing else. */
  #since = 0;
  /** Writes of this turn that are still to be made, if one of them is to this client. */
  #staged: ChunkWrites | undefined;

  constructor(platform: Platform, owner: OutputOwner, services: OutputServices) {
    super(platform, owner, services);
    this.#raw = platform.raw;
    this.#owner = owner;
    this.#counts = services.writeCounts;
    this.#streams = services.sharedStreams;
    const accepted = platform.rawRequest.headers['accept-encoding'];
    this.isAccepted = platform.method !== 'HEAD' && acceptsGzip(accepted?.toString());
  }

  override get coding(): ContentCoding {
    return this;
  }

  override get isCompressed(): boolean {
    return this.#isOn;
  }

  begin(): void {
    this.#isOn = true;
  }

  onWrapped(): void {
    this.#owner.onWrapped();
  }

  override write(text: string): void {
    if (this.#isOn) {
      this.#writePlain(Buffer.from(text));
    } else {
      super.write(text);
    }
  }

  override sizeOf(chunk: Chunk): number {
    return super.sizeOf(this.#isOn ? blocksOf(chunk) : chunk);
  }

  override writeChunk(chunk: Chunk): void {
    super.writeChunk(this.#blocksOf(chunk));
  }

  override writeChunks(chunks: readonly Chunk[]): void {
    super.writeChunk(Chunk.join(chunks.map((chunk) => this.#blocksOf(chunk))));
  }

  override writeShared(chunk: Chunk): void {
    super.writeShared(this.#blocksOf(chunk));
  }

  override writeLive(chunk: Chunk): void {
    super.writeShared(this.#liveBlocksOf(chunk));
  }

  override stageChunk(chunk: Chunk, writes: ChunkWrites): void {
    super.stageChunk(this.#liveBlocksOf(chunk), writes);
    this.#noteStaged(writes);
  }

  override queueChunk(chunk: Chunk, start: TurnWrites): void {
    super.queueChunk(this.#liveBlocksOf(chunk), start);
  }

  override stageQueued(writes: ChunkWrites): void {
    super.stageQueued(writes);
    this.#noteStaged(writes);
  }

  override writeTo(socket: Socket, chunk: Chunk): void {
    this.#staged = undefined;
    super.writeTo(socket, chunk);
  }

  override beat(): void {
    if (this.#shared && this.#place === this.#shared.length) {
      this.#shared.beat();
    } else {
      super.beat();
    }
  }

  writeHeartbeat(frames: SharedFrames): void {
    if (this.#place === frames.start && this.keepsUp) {
      this.#flushStaged();
      this.#place = frames.end;
      this.#write(frames.cold.frame, HEARTBEAT.length);
    }
  }

  override share(key: string): void {
    this.unshare();
    if (this.isAccepted) {
      this.#key = key;
      this.#shared = this.#streams.join(key, this);
    }
  }

  override unshare(): void {
    if (this.#key !== undefined) {
      this.#streams.leave(this.#key, this);
    }
    this.#key = undefined;
    this.#shared = undefined;
    this.#place = OUT_OF_STEP;
  }

  override close(): void {
    this.unshare();
    super.close();
  }

  /**
   * Handles a call of the response's `write`: of this output, or of other code, whose bytes would end the client's
   * stream if they were not compressed. Nest writes a comment to a socket that is not read.
   */
  override onWrite(args: readonly unknown[], covered: Covered | undefined): unknown {
    const bytes = this.#isPassing ? undefined : bytesOf(args);
    if (!bytes) {
      return writeUnderOurs(this.#raw, covered, args);
    }
    this.#writePlain(bytes);
    const callback = args.find((arg) => typeof arg === 'function');
    if (callback) {
      process.nextTick(callback);
    }
    return !needsDrain(this.#raw);
  }

  /** Writes what other code passes to the response's `end`, and returns the other arguments. */
  override takeLast(args: readonly unknown[]): readonly unknown[] {
    const bytes = this.#isOn ? bytesOf(args) : undefined;
    if (!bytes) {
      return args;
    }
    this.#writePlain(bytes);
    return args.filter((arg) => typeof arg === 'function');
  }

  protected override pass(bytes: Buffer, raw: RawResponse): unknown {
    this.#isPassing = true;
    try {
      return super.pass(bytes, raw);
    } finally {
      this.#isPassing = false;
    }
  }

  /** Compresses frames, or a part of one, for this client alone. */
  #writePlain(plain: Buffer): void {
    this.#leaveStep();
    this.#write(compressFrames(plain), plain.length);
  }

  /** Writes blocks through the response. */
  #write(blocks: Buffer, plainBytes: number): void {
    this.#counts.savedBytes += plainBytes - blocks.length;
    if (this.#hasHead) {
      this.writeBytes(blocks);
      return;
    }
    this.#hasHead = true;
    this.#counts.savedBytes -= GZIP_HEAD.length;
    this.writeBytes(Buffer.concat([GZIP_HEAD, blocks]));
  }

  /** Returns the blocks of frames that this client alone gets at this place. */
  #blocksOf(chunk: Chunk): Chunk {
    if (!this.#isOn) {
      return chunk;
    }
    this.#leaveStep();
    return this.#counted(chunk, blocksOf(chunk));
  }

  /** Returns the blocks of frames that all clients of the shared stream get, if there is one. */
  #liveBlocksOf(chunk: Chunk): Chunk {
    if (!this.#isOn || !this.#shared) {
      return this.#blocksOf(chunk);
    }
    const frames = this.#shared.place(chunk);
    if (this.#place !== frames.start) {
      // It has missed a part of the stream, or was written something else.
      this.#since = frames.start;
    }
    this.#place = frames.end;
    return this.#counted(chunk, frames.blockFor(this.#since));
  }

  #counted(chunk: Chunk, blocks: Chunk): Chunk {
    if (!this.#hasHead) {
      this.#write(NOTHING, 0);
    }
    this.#counts.savedBytes += chunk.frame.length - blocks.frame.length;
    return blocks;
  }

  /**
   * Called before anything is written to this client alone. It does not have the same as the others any more, and what
   * was prepared for it as the same is written first.
   */
  #leaveStep(): void {
    this.#flushStaged();
    this.#place = OUT_OF_STEP;
  }

  #flushStaged(): void {
    this.#staged?.flushTo(this);
    this.#staged = undefined;
  }

  #noteStaged(writes: ChunkWrites): void {
    if (writes.endsWith(this)) {
      this.#staged = writes;
    }
  }
}

/** Makes the output of a response. One that is never compressed has a plain output. */
export function newOutput(
  compression: Compression,
  platform: Platform,
  owner: OutputOwner,
  services: OutputServices,
): ResponseOutput {
  const Output = compression === false ? ResponseOutput : CompressedOutput;
  return new Output(platform, owner, services);
}

/** Returns the bytes that other code passes to `write` or `end`; undefined if there are none, but a callback alone. */
function bytesOf([data, encoding]: readonly unknown[]): Buffer | undefined {
  if (typeof data === 'string') {
    return Buffer.from(data, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  }
  return data instanceof Uint8Array ? Buffer.from(data) : undefined;
}
