const CRLF = Buffer.from('\r\n');

/**
 * Frames as bytes, made once for all clients: bare, and as a chunk of HTTP/1.1 (RFC 9112, section
 * 7.1) that can go to the socket as it is.
 */
export class Chunk {
  /** The frames alone. */
  readonly frame: Buffer;
  #chunk: Buffer | undefined;

  constructor(frame: Buffer | string) {
    this.frame = typeof frame === 'string' ? Buffer.from(frame) : frame;
  }

  /** The frames of several chunks in one. */
  static join(chunks: readonly Chunk[]): Chunk {
    return chunks.length === 1 ? chunks[0]! : new Chunk(Buffer.concat(chunks.map(({ frame }) => frame)));
  }

  /** The frames with the header and the end of a chunk; nothing of nothing. */
  get chunk(): Buffer {
    // A chunk of no bytes would be the last one, and end the response.
    this.#chunk ??=
      this.frame.length === 0
        ? this.frame
        : Buffer.concat([Buffer.from(`${this.frame.length.toString(16)}\r\n`), this.frame, CRLF]);
    return this.#chunk;
  }
}
