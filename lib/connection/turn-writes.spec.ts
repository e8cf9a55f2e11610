import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Chunk } from '../wire/index.js';
import { TurnWrites } from './turn-writes.js';

const pathOf = (start: TurnWrites, chunks: readonly Chunk[]) =>
  chunks.reduce((place, chunk) => place.after(chunk), start);

describe('TurnWrites', () => {
  it('gives each client the frames that it was written, in their order', () => {
    const clients = fc.array(fc.array(fc.nat(5), { minLength: 1, maxLength: 6 }), {
      maxLength: 12,
      size: 'max',
    });
    fc.assert(
      fc.property(clients, (paths) => {
        const chunks = Array.from({ length: 6 }, (_, n) => new Chunk(`data: ${'é'.repeat(n)}${n}\n\n`));
        const start = new TurnWrites();
        const places = paths.map((path) =>
          pathOf(
            start,
            path.map((n) => chunks[n]!),
          ),
        );
        for (const [client, path] of paths.entries()) {
          const frames = Buffer.concat(path.map((n) => chunks[n]!.frame));
          const { chunk, bytes } = places[client]!;
          expect(chunk.frame.equals(frames)).toBe(true);
          expect(bytes).toBe(frames.length);
          expect(chunk.chunk.toString()).toBe(`${frames.length.toString(16)}\r\n${frames.toString()}\r\n`);
        }
      }),
    );
  });

  it('joins the same frames once, however many clients get them, and in whatever order these come', () => {
    const [a, b, c] = [new Chunk('a'), new Chunk('b'), new Chunk('c')];
    const start = new TurnWrites();
    const first = pathOf(start, [a, b, c]);
    const other = pathOf(start, [a, c]);
    const again = pathOf(start, [a, b, c]);
    expect(again).toBe(first);
    expect(again.chunk).toBe(first.chunk);
    expect(pathOf(start, [a, c]).chunk).toBe(other.chunk);
    expect(pathOf(start, [a, b]).chunk.frame.toString()).toBe('ab');
  });

  it('goes by the chunk, and not by what it holds', () => {
    const start = new TurnWrites();
    const [one, two] = [new Chunk('same'), new Chunk('same')];
    expect(start.after(one)).not.toBe(start.after(two));
    expect(start.after(one)).toBe(start.after(one));
  });

  it('has nothing to write where it begins', () => {
    const start = new TurnWrites();
    expect([start.bytes, start.chunk.frame.length]).toEqual([0, 0]);
  });

  it('takes a single frame as it is', () => {
    const chunk = new Chunk('a');
    expect(new TurnWrites().after(chunk).chunk).toBe(chunk);
  });
});
