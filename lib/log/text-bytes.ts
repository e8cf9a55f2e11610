const BEYOND_LATIN_1 = /[^\u0000-\u00ff]/;

/** Counts the bytes of a text in memory: V8 stores a Latin-1 text in one byte a character, any other in two. */
export function bytesInMemory(text: string): number {
  return BEYOND_LATIN_1.test(text) ? 2 * text.length : text.length;
}
