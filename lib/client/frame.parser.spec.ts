import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { EventStreamParser } from '../testing/event-stream.parser.js';
import { SseClientError } from './client.error.js';
import { FrameParser } from './frame.parser.js';

const lines = fc.array(
  fc.tuple(
    fc.constantFrom(
      'data: a',
      'data:b',
      'data',
      'data:  c',
      'event: x',
      'event:',
      'id: 1',
      'id',
      'id: \0',
      ':',
      ': c',
      'retry: 5',
      'retry: x',
      'other: y',
      '',
      '',
      '',
    ),
    fc.constantFrom('\n', '\r\n', '\r'),
  ),
  { maxLength: 40 },
);

it('reports what the parser of the testing helpers reports, however the stream is cut', () => {
  fc.assert(
    fc.property(lines, fc.array(fc.nat(200), { maxLength: 10 }), (parts, cuts) => {
      const text = parts.flat().join('');
      const own: unknown[] = [];
      const other: unknown[] = [];
      const parser = new FrameParser(
        {
          // A block without data is an id alone there.
          frame: ({ type, data, id }) => data !== undefined && own.push([type, data, id]),
          comment: (comment) => own.push(comment),
          retry: (ms) => own.push(ms),
        },
        1_000_000,
      );
      const reference = new EventStreamParser({
        event: ({ type, data, id }) => other.push([type, data, id]),
        comment: (comment) => other.push(comment),
        retry: (ms) => other.push(ms),
      });
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), text.length]) {
        parser.push(text.slice(from, to));
        reference.push(new TextEncoder().encode(text.slice(from, to)));
        from = Math.max(from, to);
      }
      expect(own).toEqual(other);
    }),
    { numRuns: 1_000 },
  );
});

it('reports the id of a block without data', () => {
  const frames: unknown[] = [];
  const parser = new FrameParser(
    { frame: (frame) => frames.push(frame), comment: () => undefined, retry: () => undefined },
    100,
  );
  parser.push('id: 1\n\n\n\nevent: x\n\n');
  expect(frames).toEqual([{ type: 'message', data: undefined, id: '1' }]);
});

it('refuses a block that is longer than its bound, though no line of it ends, and no stream of comments', () => {
  const create = () =>
    new FrameParser({ frame: () => undefined, comment: () => undefined, retry: () => undefined }, 100);
  const parser = create();
  for (let n = 0; n < 1_000; n += 1) {
    parser.push(': heartbeat\n');
  }
  parser.push(`data: ${'x'.repeat(90)}\n\n`);
  parser.push(`data: ${'x'.repeat(90)}\n\n`);
  expect(() => parser.push(`data: ${'x'.repeat(90)}\ndata: ${'x'.repeat(90)}\n`)).toThrow(SseClientError);
  const other = create();
  expect(() => {
    for (let n = 0; n < 11; n += 1) {
      other.push('x'.repeat(10));
    }
  }).toThrow(SseClientError);
});
