const BEYOND_LATIN_1 = /[^\u0000-\u00ff]/;

/** Bytes that a text takes in memory: V8 keeps Latin-1 in one byte a character, any other text in two. */
export function bytesInMemory(text: string): number {
  return BEYOND_LATIN_1.test(text) ? 2 * text.length : text.length;
}
