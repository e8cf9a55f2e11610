import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { Chunk } from './chunk.js';

/** The data of chunks as RFC 9112, section 7.1, says; a chunk of no bytes would be the end. */
function dataOf(chunked: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  while (at < chunked.length) {
    const line = chunked.indexOf('\r\n', at);
    const size = chunked.toString('latin1', at, line);
    expect(size).toMatch(/^[1-9a-f][0-9a-f]*$/);
    const start = line + 2;
    const end = start + Number.parseInt(size, 16);
    parts.push(chunked.subarray(start, end));
    expect(chunked.toString('latin1', end, end + 2)).toBe('\r\n');
    at = end + 2;
  }
  expect(at).toBe(chunked.length);
  return Buffer.concat(parts);
}

const frame = fc.oneof(
  fc.string({ unit: codePoint, minLength: 1, maxLength: 40 }),
  fc.integer({ min: 1, max: 70_000 }).map((length) => 'é'.repeat(length)),
);

describe('Chunk', () => {
  it('has its frame as UTF-8, and as one chunk of HTTP/1.1', () => {
    fc.assert(
      fc.property(frame, (text) => {
        const chunk = new Chunk(text);
        expect(chunk.frame.equals(Buffer.from(text))).toBe(true);
        expect(dataOf(chunk.chunk).equals(chunk.frame)).toBe(true);
      }),
    );
  });

  it.each([
    ['a', '1\r\na\r\n'],
    ['x'.repeat(15), `f\r\n${'x'.repeat(15)}\r\n`],
    ['x'.repeat(16), `10\r\n${'x'.repeat(16)}\r\n`],
    ['data: é\n\n', 'a\r\ndata: é\n\n\r\n'],
  ])('writes the length in bytes of %j before it', (text, expected) => {
    expect(new Chunk(text).chunk.toString()).toBe(expected);
  });

  it('makes its bytes once', () => {
    const chunk = new Chunk('a');
    expect(chunk.chunk).toBe(chunk.chunk);
    expect(chunk.frame).toBe(chunk.frame);
  });

  it('joins several into one', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 5 }), (texts) => {
        const joined = Chunk.join(texts.map((text) => new Chunk(text)));
        expect(joined.frame.equals(Buffer.concat(texts.map((text) => Buffer.from(text))))).toBe(true);
        expect(dataOf(joined.chunk).equals(joined.frame)).toBe(true);
      }),
    );
  });

  it('is itself when it is joined alone', () => {
    const chunk = new Chunk('a');
    expect(Chunk.join([chunk])).toBe(chunk);
  });

  it('of no bytes does not end the response', () => {
    expect(new Chunk('').chunk).toHaveLength(0);
    expect(Chunk.join([]).chunk).toHaveLength(0);
  });
});
