import fc from 'fast-check';

const SURROGATES = { first: 0xd800, count: 0x800 };

/**
 * Any code point that is no surrogate, for `fc.string({ unit: codePoint })`. `unit: 'binary'` gives the same, and first
 * writes down all 1.1 million of them, which takes longer than most specs.
 */
export const codePoint = fc
  .integer({ min: 0, max: 0x10ffff - SURROGATES.count })
  .map((n) => String.fromCodePoint(n < SURROGATES.first ? n : n + SURROGATES.count), numberOf);

function numberOf(text: unknown): number {
  const code = typeof text === 'string' ? text.codePointAt(0) : undefined;
  if (code === undefined || text !== String.fromCodePoint(code) || isSurrogate(code)) {
    throw new Error(`${String(text)} is not one code point`);
  }
  return code < SURROGATES.first ? code : code - SURROGATES.count;
}

function isSurrogate(code: number): boolean {
  return code >= SURROGATES.first && code < SURROGATES.first + SURROGATES.count;
}
