import { constants, gunzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { Chunk, encodeEvent, HEARTBEAT } from '../wire/index.js';
import { blocksOf, compressFrames, GZIP_HEAD, STORED_BELOW_BYTES } from './blocks.js';

const LIMITS = { maxEventBytes: Infinity };
const frameOf = (data: unknown) => encodeEvent({ type: 'changed', data }, LIMITS);
const ORDER = { customer: 'c'.repeat(40), items: Array.from({ length: 40 }, (_, n) => ({ sku: `A-${n}` })) };

/** What a client decodes that has received these bytes and no more: there is no trailer. */
function decode(...blocks: Buffer[]): string {
  const bytes = Buffer.concat([GZIP_HEAD, ...blocks]);
  return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
}

describe('blocks', () => {
  const data = fc.oneof(
    fc.string({ unit: codePoint, maxLength: 3_000, size: 'max' }),
    fc.integer({ min: 1, max: 200_000 }).map((length) => 'ab\n'.repeat(length / 3)),
    fc.uint8Array({ maxLength: 70_000, size: 'max' }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    fc.json(),
  );

  it('are decoded to the frames, whole ones and parts of them, each as soon as it is there', () => {
    fc.assert(
      fc.property(fc.array(data, { maxLength: 8 }), fc.nat(), (items, cut) => {
        const frames = items.map((item) => Buffer.from(frameOf(item)));
        const joined = Buffer.concat(frames);
        const at = cut % (joined.length + 1);
        expect(decode(compressFrames(joined))).toBe(joined.toString());
        expect(decode(compressFrames(joined.subarray(0, at)), compressFrames(joined.subarray(at)))).toBe(
          joined.toString(),
        );
        const each = frames.map((frame) => blocksOf(new Chunk(frame)).frame);
        each.forEach((_, n) => expect(decode(...each.slice(0, n + 1))).toBe(frames.slice(0, n + 1).join('')));
      }),
      { numRuns: 30 },
    );
  });

  it('do not end the stream: what follows one is decoded', () => {
    const order = Buffer.from(frameOf(ORDER));
    expect(decode(compressFrames(order), compressFrames(order))).toBe(frameOf(ORDER).repeat(2));
  });

  it('are made once for a chunk, and kept without the memory of the compressor', () => {
    const chunk = new Chunk(frameOf(ORDER));
    const blocks = blocksOf(chunk);
    expect(blocksOf(chunk)).toBe(blocks);
    expect(blocks.frame.length).toBeLessThan(chunk.frame.length / 2);
    // Small buffers share a pool of Node's.
    expect(blocks.frame.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize);
  });

  it('store what is short, such as a heartbeat, with five bytes more', () => {
    const short = 'a'.repeat(STORED_BELOW_BYTES - 1);
    expect(compressFrames(Buffer.from(HEARTBEAT)).toString('hex')).toBe('000200fdff3a0a');
    expect(compressFrames(Buffer.from(short))).toHaveLength(short.length + 5);
    expect(compressFrames(Buffer.from(`${short}a`)).length).toBeLessThan(50);
  });

  it('store what deflate would make longer', () => {
    const noise = Buffer.from(Array.from({ length: 1_000 }, (_, n) => (n * n * 7 + (n >> 3) * 89) % 251));
    expect(compressFrames(noise).length).toBeLessThanOrEqual(noise.length + 5);
  });

  it('do not tell by their length that two events of one write are alike', () => {
    const secret = 'code: '.padEnd(500, 'k3jx9 q7w2 mz81 ');
    const guess = 'code: '.padEnd(500, 'p5tv4 n6c0 yr28 ');
    const lengthOf = (...items: string[]) => compressFrames(Buffer.from(items.map(frameOf).join(''))).length;
    expect(lengthOf(secret, secret)).toBe(2 * lengthOf(secret));
    expect(lengthOf(secret, guess)).toBe(lengthOf(secret) + lengthOf(guess));
  });
});
