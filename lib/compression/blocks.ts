import { constants, deflateRawSync } from 'node:zlib';
import type { ZlibOptions } from 'node:zlib';
import { Chunk } from '../wire/index.js';

/**
 * What a compressed response begins with: the header of a gzip member without a name and a time (RFC 1952, section
 * 2.3). Blocks follow until the response ends. There is no trailer: Node 20 and 22 hang on one that is wrong, and it
 * would have to be computed for each client.
 */
export const GZIP_HEAD = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

/**
 * Frames of fewer bytes are stored: deflate saves a fifth of them at most, and the length of a stored event does not
 * show what its data repeats.
 */
export const STORED_BELOW_BYTES = 400;

// The length of a stored block has 16 bits: RFC 1951, section 3.2.4.
const MAX_STORED_BYTES = 0xff_ff;
// A compressor is made for each block. This one takes a tenth of the memory of the default, and its window is enough.
const SMALL_BYTES = 4_096;
const SMALL = { windowBits: 13, memLevel: 6 };
const END_OF_FRAME = '\n\n';

/**
 * Returns frames as blocks of raw deflate (RFC 1951), one for each frame: the length of a block does not show that two
 * events are alike. Each ends on a byte and refers to nothing before it: any client can be sent it at any time. The
 * blocks are made once, and kept with the frames.
 */
export function blocksOf(chunk: Chunk): Chunk {
  chunk.compressed ??= new Chunk(compressFrames(chunk.frame));
  return chunk.compressed;
}

/** Compresses frames, each by itself. Several that are small become one stored block. */
export function compressFrames(frames: Buffer): Buffer {
  const blocks: Buffer[] = [];
  let stored = 0;
  let start = 0;
  while (start < frames.length) {
    const end = endOfFrame(frames, start);
    if (end - start >= STORED_BELOW_BYTES) {
      blocks.push(storedBlocks(frames.subarray(stored, start)), compressedBlock(frames.subarray(start, end)));
      stored = end;
    }
    start = end;
  }
  blocks.push(storedBlocks(frames.subarray(stored)));
  return Buffer.concat(blocks);
}

/** Returns bytes as stored blocks: 5 bytes more for each 65,535. */
export function storedBlocks(bytes: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += MAX_STORED_BYTES) {
    const part = bytes.subarray(at, at + MAX_STORED_BYTES);
    // A block type of 0, not the last one. It begins on a byte, as the block before it ends on one.
    const head = Buffer.alloc(5);
    head.writeUInt16LE(part.length, 1);
    head.writeUInt16LE(MAX_STORED_BYTES - part.length, 3);
    blocks.push(head, part);
  }
  return Buffer.concat(blocks);
}

/**
 * Deflates frames with what the client has decoded before them.
 *
 * @param tail - the last bytes that the client has decoded, all of them
 */
export function warmBlock(frames: Buffer, tail: Buffer): Buffer {
  return compressedBlock(frames, { dictionary: tail });
}

/** Deflates bytes as one block. If that saves nothing, they are stored. */
function compressedBlock(bytes: Buffer, options: ZlibOptions = {}): Buffer {
  const block = deflateRawSync(bytes, {
    // An empty stored block at the end, by which the client has the whole frame, and the next block begins on a byte.
    finishFlush: constants.Z_SYNC_FLUSH,
    // The default would keep 16 KB of memory for the smallest block.
    chunkSize: Math.min(Math.max(constants.Z_MIN_CHUNK, bytes.length), constants.Z_DEFAULT_CHUNK),
    ...(bytes.length <= SMALL_BYTES ? SMALL : {}),
    ...options,
  });
  const stored = storedBlocks(bytes);
  return block.length < stored.length ? block : stored;
}

/** Returns where the frame that begins at `start` ends: behind its blank line, which is in no frame twice. */
function endOfFrame(frames: Buffer, start: number): number {
  const blankLine = frames.indexOf(END_OF_FRAME, start);
  return blankLine === -1 ? frames.length : blankLine + END_OF_FRAME.length;
}
