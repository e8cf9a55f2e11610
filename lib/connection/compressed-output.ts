import { acceptsGzip, blocksOf, compressFrames, GZIP_HEAD } from '../compression/index.js';
import { needsDrain, writeUnderOurs } from '../http/index.js';
import type { ContentCoding, Covered, Platform, RawResponse } from '../http/index.js';
import { Chunk } from '../wire/index.js';
import type { ChunkWrites } from './chunk-writes.js';
import { ResponseOutput } from './output.js';
import type { OutputOwner, OutputServices, WriteCounts } from './output.js';
import type { TurnWrites } from './turn-writes.js';

const NOTHING = Buffer.alloc(0);

/**
 * The bytes of a response that is compressed if its headers can still say so. Each event becomes a block once, for all
 * clients, and everything that is written is such a block. A connection without compression has a plain
 * {@link ResponseOutput}, and pays nothing for this.
 */
export class CompressedOutput extends ResponseOutput implements ContentCoding {
  readonly isAccepted: boolean;
  readonly #raw: RawResponse;
  readonly #counts: WriteCounts;
  /** Whether the headers say that the body is compressed. */
  #isOn = false;
  #hasHead = false;
  /** Whether the response's `write` is called by this output, and not by other code. */
  #isPassing = false;

  constructor(platform: Platform, owner: OutputOwner, services: OutputServices) {
    super(platform, owner, services);
    this.#raw = platform.raw;
    this.#counts = services.writeCounts;
    const accepted = platform.rawRequest.headers['accept-encoding'];
    this.isAccepted = platform.method !== 'HEAD' && acceptsGzip(accepted?.toString());
  }

  override get isCompressed(): boolean {
    return this.#isOn;
  }

  begin(): void {
    this.#isOn = true;
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

  override stageChunk(chunk: Chunk, writes: ChunkWrites): void {
    super.stageChunk(this.#blocksOf(chunk), writes);
  }

  override queueChunk(chunk: Chunk, start: TurnWrites): void {
    super.queueChunk(this.#blocksOf(chunk), start);
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
    const blocks = compressFrames(plain);
    this.#counts.savedBytes += plain.length - blocks.length;
    if (this.#hasHead) {
      this.writeBytes(blocks);
      return;
    }
    this.#hasHead = true;
    this.#counts.savedBytes -= GZIP_HEAD.length;
    this.writeBytes(Buffer.concat([GZIP_HEAD, blocks]));
  }

  #blocksOf(chunk: Chunk): Chunk {
    if (!this.#isOn) {
      return chunk;
    }
    if (!this.#hasHead) {
      this.#writePlain(NOTHING);
    }
    const blocks = blocksOf(chunk);
    this.#counts.savedBytes += chunk.frame.length - blocks.frame.length;
    return blocks;
  }
}

/** Returns what other code passes to `write` or `end` as bytes; undefined if it is none, as for a callback alone. */
function bytesOf([data, encoding]: readonly unknown[]): Buffer | undefined {
  if (typeof data === 'string') {
    return Buffer.from(data, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  }
  return data instanceof Uint8Array ? Buffer.from(data) : undefined;
}
