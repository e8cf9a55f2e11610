import { describe, expect, it } from '@jest/globals';
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { EventStreamParser } from './event-stream.parser.js';

type Reported =
  | { event: { type: string; data: string; id: string | undefined; lastEventId?: string } }
  | { comment: string }
  | { retry: number };

function parse(chunks: Uint8Array[], lastEventId?: string) {
  const reported: Reported[] = [];
  const parser = new EventStreamParser(
    {
      event: (event) => reported.push({ event }),
      comment: (comment) => reported.push({ comment }),
      retry: (retry) => reported.push({ retry }),
    },
    lastEventId,
  );
  for (const chunk of chunks) {
    parser.push(chunk);
  }
  return { reported, lastEventId: parser.lastEventId };
}

function parseText(text: string, lastEventId?: string) {
  return parse([Buffer.from(text)], lastEventId);
}

function eventsOf(text: string) {
  return parseText(text).reported.flatMap((item) => ('event' in item ? [item.event] : []));
}

describe("the standard's examples", () => {
  it('joins data lines with a line feed', () => {
    expect(eventsOf('data: YHOO\ndata: +2\ndata: 10\n\n')).toMatchObject([
      { type: 'message', data: 'YHOO\n+2\n10' },
    ]);
  });

  it('gives each event its type', () => {
    expect(
      eventsOf('event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n'),
    ).toMatchObject([
      { type: 'add', data: '73857293' },
      { type: 'remove', data: '2153' },
      { type: 'add', data: '113411' },
    ]);
  });

  it('has ids that last, and an empty one that clears them', () => {
    const stream =
      ': test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n';

    expect(parseText(stream)).toEqual({
      reported: [
        { comment: 'test stream' },
        { event: { type: 'message', data: 'first event', id: '1', lastEventId: '1' } },
        { event: { type: 'message', data: 'second event', id: '', lastEventId: '' } },
        { event: { type: 'message', data: ' third event', id: undefined, lastEventId: '' } },
      ],
      lastEventId: '',
    });
  });

  it('dispatches data fields without a value, and not the block that has no end', () => {
    expect(eventsOf('data\n\ndata\ndata\n\ndata:').map(({ data }) => data)).toEqual(['', '\n']);
  });

  it('takes one space after the colon for no part of the value', () => {
    expect(eventsOf('data:test\n\ndata: test\n\n').map(({ data }) => data)).toEqual(['test', 'test']);
  });
});

describe("the standard's rules", () => {
  it.each([
    ['LF', '\n'],
    ['CR', '\r'],
    ['CRLF', '\r\n'],
  ])('ends lines with %s', (_name, end) => {
    const text = `data: a${end}data: b${end}${end}data: c${end}${end}`;

    expect(eventsOf(text).map(({ data }) => data)).toEqual(['a\nb', 'c']);
  });

  it('dispatches at a CR without waiting for what may follow it', () => {
    expect(eventsOf('data: a\r\n\r').map(({ data }) => data)).toEqual(['a']);
  });

  it.each([
    ['in the next chunk', ['data: a\r', '\ndata: b\r\n\r\n']],
    ['after an empty chunk', ['data: a\r', '', '\ndata: b\n\n']],
  ])('takes an LF that follows a CR %s as part of the same line end', (_name, chunks) => {
    const { reported } = parse(chunks.map((text) => Buffer.from(text)));

    expect(reported).toMatchObject([{ event: { data: 'a\nb' } }]);
  });

  it('joins a character that is cut between chunks', () => {
    const euro = Buffer.from('€');
    const chunks = [Buffer.from('data: '), euro.subarray(0, 1), euro.subarray(1), Buffer.from('\n\n')];

    expect(parse(chunks).reported).toMatchObject([{ event: { data: '€' } }]);
  });

  it('strips one byte order mark at the beginning, and no other', () => {
    expect(eventsOf('\uFEFFdata: a\n\n\uFEFFdata: b\n\ndata: c\n\n').map(({ data }) => data)).toEqual([
      'a',
      'c',
    ]);
    expect(eventsOf('\uFEFF\uFEFFdata: a\n\n')).toEqual([]);
  });

  it('replaces bytes that are no UTF-8', () => {
    const { reported } = parse([Buffer.from('data: '), Buffer.from([0xff, 0x61]), Buffer.from('\n\n')]);

    expect(reported).toMatchObject([{ event: { data: '\uFFFDa' } }]);
  });

  it.each([
    ['NUL in an id', 'id: 1\0\ndata: a\n\n', undefined, 'before'],
    ['NUL in the second of two ids', 'id: 1\nid: 2\0\ndata: a\n\n', '1', '1'],
  ])('ignores %s', (_name, text, id, lastEventId) => {
    expect(parseText(text, 'before').reported).toMatchObject([{ event: { id, lastEventId } }]);
  });

  it.each([
    'retry: 10x',
    'retry: -1',
    'retry: 1.5',
    'retry:  10',
    'retry:',
    'retry',
    'retry: ١',
    'Retry: 10',
  ])('ignores %j', (line) => {
    expect(parseText(`${line}\n\n`).reported).toEqual([]);
  });

  it('takes a retry at once, before its block ends', () => {
    expect(parseText('retry: 0010\n').reported).toEqual([{ retry: 10 }]);
  });

  it('ignores unknown fields, also those that differ in case or by a space', () => {
    expect(eventsOf('Data: a\ndata : b\n data: c\ndate: d\n\n')).toEqual([]);
  });

  it('dispatches no event without data, but keeps its id and forgets its type', () => {
    expect(parseText('event: a\nid: 7\n\ndata: b\n\n')).toEqual({
      reported: [{ event: { type: 'message', data: 'b', id: undefined, lastEventId: '7' } }],
      lastEventId: '7',
    });
  });

  it('takes the id of an unfinished block for none', () => {
    expect(parseText('id: 1\ndata: a\n\nid: 2\ndata: b\n').lastEventId).toBe('1');
  });

  it('reports a comment in the middle of a block without disturbing it', () => {
    expect(parseText('data: a\n:\n: beat\n:  two\ndata: b\n\n').reported).toMatchObject([
      { comment: '' },
      { comment: 'beat' },
      { comment: ' two' },
      { event: { data: 'a\nb' } },
    ]);
  });
});

describe('any stream, cut anywhere', () => {
  const value = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', ':', ' ', '\0', '7', 'é', '🜁', '\uFEFF') }),
    fc.string({ unit: codePoint }),
    fc.nat().map(String),
  );
  const line = fc.oneof(
    { weight: 4, arbitrary: fc.constant('') },
    {
      weight: 6,
      arbitrary: fc
        .tuple(
          fc.constantFrom('data', 'event', 'id', 'retry', '', 'other'),
          fc.constantFrom(':', ': ', ''),
          value,
        )
        .map((parts) => parts.join('')),
    },
    { weight: 1, arbitrary: value },
  );
  const text = fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 30 })
    .map((lines) => lines.flat().join(''));
  const bytes = fc
    .tuple(fc.constantFrom('', '\uFEFF'), text, fc.oneof(text, fc.uint8Array({ maxLength: 20 })), text)
    .map((parts) =>
      Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))),
    );
  const cuts = fc.array(fc.nat({ max: 200 }), { maxLength: 40 });

  function cutUp(whole: Buffer, lengths: number[]): Buffer[] {
    const chunks: Buffer[] = [];
    let start = 0;
    for (const length of lengths) {
      chunks.push(whole.subarray(start, start + length));
      start = Math.min(start + length, whole.length);
    }
    return [...chunks, whole.subarray(start)];
  }

  function parseWithOracle(whole: Buffer): Reported[] {
    const reported: Reported[] = [];
    const parser = createParser({
      onEvent: ({ event = 'message', data, id }) => reported.push({ event: { type: event, data, id } }),
      onComment: (comment) => reported.push({ comment }),
      onRetry: (retry) => reported.push({ retry }),
    });
    // It keeps a CR at the end of a chunk until it sees the next character.
    parser.feed(`${new TextDecoder().decode(whole)}unfinished`);
    return reported;
  }

  it('is what eventsource-parser makes of it', () => {
    fc.assert(
      fc.property(bytes, cuts, (whole, lengths) => {
        const { reported } = parse(cutUp(whole, lengths));
        const comparable = reported.map((item) =>
          'event' in item
            ? { event: { type: item.event.type, data: item.event.data, id: item.event.id } }
            : item,
        );

        expect(comparable).toEqual(parseWithOracle(whole));
      }),
      { numRuns: 2_000 },
    );
  });

  it('is the same as uncut, ids and all', () => {
    fc.assert(
      fc.property(bytes, cuts, (whole, lengths) => {
        expect(parse(cutUp(whole, lengths))).toEqual(parse([whole]));
      }),
      { numRuns: 500 },
    );
  });
});
