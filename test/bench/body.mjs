/** The body of a compressed response, as bytes come from its socket: without HTTP's headers and chunks, decoded. */
import { constants, createGunzip, inflateRawSync } from 'node:zlib';

const HEADERS_END = '\r\n\r\n';

export class CompressedBody {
  #onChunk;
  /** Headers so far; undefined once they are over. */
  #headers = '';
  /** The line with the length of the next chunk, so far. */
  #line = '';
  #parts = [];
  #left = 0;
  #gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });

  /**
   * @param {object} on
   * @param {(bytes: Buffer) => void} on.data - what is decoded
   * @param {(chunk: Buffer) => void} on.chunk - each chunk of HTTP, as it was sent
   */
  constructor({ data, chunk }) {
    this.#gunzip.on('data', data);
    this.#onChunk = chunk;
  }

  push(bytes) {
    let at = this.#headers === undefined ? 0 : this.#skipHeaders(bytes);
    while (at < bytes.length) {
      at = this.#left > 0 ? this.#takeData(bytes, at) : this.#takeLine(bytes, at);
    }
  }

  #skipHeaders(bytes) {
    const before = this.#headers.length;
    this.#headers += bytes.toString('latin1');
    const end = this.#headers.indexOf(HEADERS_END);
    if (end === -1) {
      return bytes.length;
    }
    if (!/^content-encoding: gzip$/im.test(this.#headers.slice(0, end))) {
      throw new Error(`The response is not compressed: ${this.#headers.slice(0, end)}`);
    }
    this.#headers = undefined;
    return end + HEADERS_END.length - before;
  }

  #takeLine(bytes, start) {
    const end = bytes.indexOf('\n', start);
    this.#line += bytes.toString('latin1', start, end === -1 ? bytes.length : end);
    if (end === -1) {
      return bytes.length;
    }
    // The line after the data of a chunk is empty.
    this.#left = Number.parseInt(this.#line, 16) || 0;
    this.#line = '';
    return end + 1;
  }

  #takeData(bytes, start) {
    // Copied: the caller reads into the same memory again.
    const part = Buffer.from(bytes.subarray(start, start + this.#left));
    this.#parts.push(part);
    this.#left -= part.length;
    if (this.#left === 0) {
      const chunk = Buffer.concat(this.#parts);
      this.#parts = [];
      this.#gunzip.write(chunk);
      this.#onChunk(chunk);
    }
    return start + part.length;
  }
}

/** Whether a chunk refers to what came before it: then it cannot be decoded by itself. */
export function isWarm(chunk) {
  try {
    inflateRawSync(chunk, { finishFlush: constants.Z_SYNC_FLUSH });
    return false;
  } catch {
    return true;
  }
}
