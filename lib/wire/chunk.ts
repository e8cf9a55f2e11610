const CRLF = Buffer.from('\r\n');

/**
 * Frames as bytes, made once for all clients: bare, and as a chunk of HTTP/1.1 (RFC 9112, section 7.1) that can be
 * written to the socket.
 */
export class Chunk {
  /** The frames without a chunk header. */
  readonly frame: Buffer;
  /** The same frames compressed, once a client has wanted them. Kept here, so that it is done once for all. */
  compressed: Chunk | undefined;
  #chunk: Buffer | undefined;

  constructor(frame: Buffer | string) {
    this.frame = typeof frame === 'string' ? Buffer.from(frame) : frame;
  }

  /** Joins the frames of several chunks into one. */
  static join(chunks: readonly Chunk[]): Chunk {
    return chunks.length === 1 ? chunks[0]! : new Chunk(Buffer.concat(chunks.map(({ frame }) => frame)));
  }

  /** The frames with the chunk's header and end; empty if there are no frames. */
  get chunk(): Buffer {
    // A chunk of 0 bytes is the last chunk: it would end the response.
    this.#chunk ??=
      this.frame.length === 0
        ? this.frame
        : Buffer.concat([Buffer.from(`${this.frame.length.toString(16)}\r\n`), this.frame, CRLF]);
    return this.#chunk;
  }
}
