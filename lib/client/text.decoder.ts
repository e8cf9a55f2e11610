/**
 * Decodes UTF-8 that comes in chunks. A character that a chunk cuts waits for its rest: decoders of older runtimes, such
 * as those of React Native, cannot keep it.
 */
export class ChunkDecoder {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a character. */
  #rest: readonly number[] = [];
  #hasBegun = false;

  /** @returns the text as far as it is whole, without a byte order mark at its beginning */
  decode(chunk: Uint8Array): string {
    let bytes = chunk;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
    }
    const end = endOfCharacters(bytes);
    this.#rest = [...bytes.subarray(end)];
    const text = this.#decoder.decode(bytes.subarray(0, end));
    const isMarked = !this.#hasBegun && text[0] === '\uFEFF';
    this.#hasBegun ||= text !== '';
    return isMarked ? text.slice(1) : text;
  }
}

/** Where the last character begins if it lacks bytes, else the end. */
function endOfCharacters(bytes: Uint8Array): number {
  const { length } = bytes;
  for (let back = 1; back < 4 && back <= length; back += 1) {
    const byte = bytes[length - back]!;
    if (byte >= 0xc0) {
      const size = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      return size > back ? length - back : length;
    }
    if (byte < 0x80) {
      break;
    }
  }
  return length;
}
