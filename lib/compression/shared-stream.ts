import { Chunk, HEARTBEAT } from '../wire/index.js';
import { blocksOf, warmBlock } from './blocks.js';

/**
 * How much of what a client has decoded a block may refer to. More saves little: 2 KB brought chunks of a chat to 8%,
 * a compressor of its own to 7.6%. A client needs as many bytes to be in step.
 */
export const TAIL_BYTES = 2_048;

/** Frames of a shared stream: what all receivers have decoded before them, and their blocks, each made once. */
export class SharedFrames {
  readonly #chunk: Chunk;
  /** The last bytes of the stream before these frames. */
  readonly #tail: Buffer;
  #warm: Chunk | undefined;
  /** Bytes of the stream before these frames. */
  readonly start: number;
  /** Bytes of the stream up to their end. */
  readonly end: number;

  constructor(chunk: Chunk, start: number, tail: Buffer) {
    this.#chunk = chunk;
    this.#tail = tail;
    this.start = start;
    this.end = start + chunk.frame.length;
  }

  /**
   * Returns the block for a client that has decoded all of the stream since a place. A warm block refers to the tail: a
   * client without all of it would decode wrong bytes, and notice nothing. Any other client gets the cold one.
   */
  blockFor(since: number): Chunk {
    const hasTail = this.#tail.length > 0 && this.start - since >= this.#tail.length;
    if (!hasTail) {
      return this.cold;
    }
    this.#warm ??= new Chunk(warmBlock(this.#chunk.frame, this.#tail));
    return this.#warm;
  }

  /** The block that refers to nothing before it. */
  get cold(): Chunk {
    return blocksOf(this.#chunk);
  }

  isOf(chunk: Chunk): boolean {
    return this.#chunk === chunk;
  }

  /** The last bytes of the stream after these frames. */
  get nextTail(): Buffer {
    const { frame } = this.#chunk;
    // Copied: a part of a frame would keep all of it in memory.
    return Buffer.concat([this.#tail, frame].map((bytes) => bytes.subarray(-TAIL_BYTES))).subarray(
      -TAIL_BYTES,
    );
  }
}

/** A client of a shared stream. */
export interface SharedStreamMember {
  /** Writes a heartbeat of the stream, if the client has everything before it. */
  writeHeartbeat(frames: SharedFrames): void;
}

/**
 * Frames that several clients get whole and in one order: those of a topic, of a set of patterns, or of a run. It grows
 * when the first client is written something new, and knows nothing of what one client alone is written.
 */
export class SharedStream {
  readonly members = new Set<SharedStreamMember>();
  #last: SharedFrames | undefined;
  #length = 0;
  #tail: Buffer = Buffer.alloc(0);

  /** Bytes of all frames so far. */
  get length(): number {
    return this.#length;
  }

  /** Returns the place of frames in the stream. The first client that gets them appends them. */
  place(chunk: Chunk): SharedFrames {
    if (!this.#last?.isOf(chunk)) {
      this.#last = new SharedFrames(chunk, this.#length, this.#tail);
      this.#length = this.#last.end;
      this.#tail = this.#last.nextTail;
    }
    return this.#last;
  }

  /** Writes a heartbeat to all clients that have everything so far, in one turn, as a part of the stream. */
  beat(): void {
    const frames = this.place(new Chunk(HEARTBEAT));
    this.members.forEach((member) => member.writeHeartbeat(frames));
  }
}

/** The shared streams of a process, by what they hold. */
export class SharedStreams {
  readonly #streams = new Map<string, SharedStream>();

  join(key: string, member: SharedStreamMember): SharedStream {
    const stream = this.#streams.get(key) ?? new SharedStream();
    this.#streams.set(key, stream);
    stream.members.add(member);
    return stream;
  }

  leave(key: string, member: SharedStreamMember): void {
    const stream = this.#streams.get(key);
    if (stream?.members.delete(member) && stream.members.size === 0) {
      this.#streams.delete(key);
    }
  }

  get size(): number {
    return this.#streams.size;
  }
}
