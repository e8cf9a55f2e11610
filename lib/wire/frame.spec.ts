import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { createParser } from 'eventsource-parser';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { SseError } from '../errors/sse.error.js';
import type { SseEvent } from './event.js';
import { fieldText } from './field-text.js';
import {
  encodeComment,
  encodeEvent,
  encodePayload,
  encodeRecord,
  encodeRetry,
  encodeRunRecord,
  HEARTBEAT,
} from './frame.js';
import { isContentFault } from './refusal.js';

const limits = { maxEventBytes: 1024 * 1024 };
const encode = (value: unknown) => encodeEvent(value, limits);
const encodeWithin = (maxEventBytes: number, value: unknown) => encodeEvent(value, { maxEventBytes });

/** What a client makes of a stream, in the order in which it hears of it. */
type Heard =
  | { event: string | undefined; id: string | undefined; data: string }
  | { comment: string }
  | { retry: number };

function hear(chunks: Iterable<string>): Heard[] {
  const heard: Heard[] = [];
  const parser = createParser({
    onEvent: ({ event, id, data }) => heard.push({ event, id, data }),
    onComment: (comment) => heard.push({ comment }),
    onRetry: (retry) => heard.push({ retry }),
    onError: (error) => {
      throw error;
    },
  });
  for (const chunk of chunks) {
    parser.feed(chunk);
  }
  return heard;
}

/** The same, of bytes cut at the given places, which may be in the middle of a character. */
function hearBytes(text: string, cuts: number[]): Heard[] {
  const bytes = Buffer.from(text);
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  const decoder = new TextDecoder();
  let start = 0;
  return hear(
    ends.map((end) => {
      const chunk = decoder.decode(bytes.subarray(start, end), { stream: true });
      start = end;
      return chunk;
    }),
  );
}

/** JSON with what ends a line for Python escaped. */
const json = (value: unknown) =>
  JSON.stringify(value).replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

const textLines = (text: string) => text.toWellFormed().split(/\r\n|\r|\n/);

/** Of an id or a type that was taken. */
const textOf = (value: unknown) => fieldText(value)!.toWellFormed();

class ObjectId {
  toString() {
    return '65f0c0ffee0000000000cafe';
  }
}

/** What a client should hear of an event, said once more without the encoder. */
function expected({ data, type, id, retry, comment }: SseEvent): Heard[] {
  const heard: Heard[] = [];
  if (comment !== undefined) {
    heard.push(...textLines(comment).map((line) => ({ comment: line })));
  }
  if (retry !== undefined) {
    heard.push({ retry });
  }
  const hasEvent = data !== undefined || (comment === undefined && retry === undefined);
  if (hasEvent) {
    const text = typeof data === 'string' ? textLines(data).join('\n') : json(data ?? null);
    heard.push({
      event: type?.toWellFormed() || undefined,
      id: id === undefined ? undefined : String(id),
      data: text,
    });
  }
  return heard;
}

/** What comes out, or the code with which it was refused. */
function outcomeOf<T>(encoding: () => T): T | string {
  try {
    return encoding();
  } catch (error) {
    if (error instanceof SseError) {
      return error.code;
    }
    throw error;
  }
}

function refusal(encoding: () => string): SseError {
  try {
    encoding();
  } catch (error) {
    if (error instanceof SseError) {
      return error;
    }
    throw error;
  }
  throw new Error('It was encoded.');
}

/** Text out of which frames could be forged, surrogates could be torn and lines broken. */
const forged = [
  'data: forged',
  'data:',
  'id: forged',
  'event: forged',
  'retry: 1',
  '\n: forged\n',
  '\n\ndata: forged\n\n',
];
const torn = [
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  '\r\r',
  ' ',
  ':',
  '\0',
  '\ufeff',
  '\u2028',
  '\u0085',
  '\v',
  '\ud83d',
  '\ude00',
  '😀',
  'ü',
];
const hostile = fc.constantFrom(...forged, ...torn);
const hostileText = fc
  .array(fc.oneof(hostile, hostile, fc.string({ unit: codePoint, maxLength: 5 })), { maxLength: 8 })
  .map((parts) => parts.join(''));
const id = fc.oneof(
  fc.constant(''),
  fc.string({ unit: 'grapheme-ascii' }).map((text) => text.trim()),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
);
const data = fc.oneof(
  hostileText,
  hostileText,
  fc.jsonValue(),
  fc.array(hostileText),
  fc.dictionary(hostileText, hostileText),
);
const retry = fc.nat({ max: 86_400_000 });
const event: fc.Arbitrary<SseEvent> = fc.record(
  { data, type: hostileText.map((text) => text.replace(/[\r\n\0]/g, '')), id, retry, comment: hostileText },
  { requiredKeys: ['data'] },
);
const eventWithoutData: fc.Arbitrary<SseEvent> = fc.oneof(
  fc.record({ comment: hostileText }),
  fc.record({ retry }),
  fc.record({ retry, comment: hostileText, id }, { requiredKeys: ['retry'] }),
);
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe('encodeEvent', () => {
  it('is read back as it was sent, cut into chunks anywhere, and nothing else is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(event, event, eventWithoutData), { maxLength: 8 }),
        cuts,
        (events, places) => {
          const stream = events.map((each) => encode(each) + HEARTBEAT).join('');

          const heard = hearBytes(stream, places);

          expect(heard).toEqual(events.flatMap((each) => [...expected(each), { comment: '' }]));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is read back when it is cut after every byte', () => {
    fc.assert(
      fc.property(event, (each) => {
        const frame = encode(each);

        const everywhere = Array.from({ length: Buffer.byteLength(frame) }, (_, index) => index);

        expect(hearBytes(frame, everywhere)).toEqual(expected(each));
      }),
    );
  });

  it('sends any JSON value that is given without an event around it', () => {
    const value = fc
      .jsonValue()
      .filter((given) => typeof given !== 'string' && !(given instanceof Object && 'data' in given));
    fc.assert(
      fc.property(value, (given) => {
        expect(hear([encode(given)])).toEqual([{ event: undefined, id: undefined, data: json(given) }]);
      }),
    );
  });

  it('lets nothing through that it cannot express: what is in a field stays in it, or the event is refused', () => {
    const field = fc.option(hostileText, { nil: undefined });
    fc.assert(
      fc.property(fc.record({ data: hostileText, type: field, id: field, comment: field }), (each) => {
        const cannotBeSent =
          /[\r\n\0]/.test(each.type ?? '') ||
          (each.id !== undefined && !/^([!-~]([ -~]*[!-~])?)?$/.test(each.id));

        const outcome = outcomeOf(() => hear([encode(each)]));

        expect(outcome).toEqual(cannotBeSent ? 'event-invalid' : expected(each));
      }),
      { numRuns: 1000 },
    );
  });

  it('makes one event of whatever it takes, with LF alone and no field that was not given', () => {
    const anything = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      values: [hostileText, fc.integer(), fc.constant(null), fc.boolean()],
    });
    const field = fc.option(fc.oneof(hostileText, anything), { nil: undefined });
    const given = fc.record({
      data: fc.oneof(hostileText, anything),
      type: field,
      id: field,
      comment: field,
    });
    fc.assert(
      fc.property(given, cuts, (each, places) => {
        const frame = outcomeOf(() => encode(each));
        if (frame === 'event-invalid') {
          return;
        }

        const heard = hearBytes(frame, places);

        expect(frame).not.toContain('\r');
        expect(frame.endsWith('\n\n') && !frame.slice(0, -1).includes('\n\n')).toBe(true);
        const events = heard.filter((one) => 'data' in one);
        expect(events).toEqual([
          {
            event: each.type === undefined || each.type === null ? undefined : textOf(each.type) || undefined,
            id: each.id === undefined || each.id === null ? undefined : textOf(each.id),
            data: typeof each.data === 'string' ? textLines(each.data).join('\n') : json(each.data ?? null),
          },
        ]);
        expect(heard.some((one) => 'retry' in one)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['a string', 'hi', 'data: hi\n\n'],
    ['an empty string', '', 'data: \n\n'],
    ['a string that begins with a space', ' hi', 'data:  hi\n\n'],
    ['LF, CR and CRLF', 'a\nb\rc\r\nd', 'data: a\ndata: b\ndata: c\ndata: d\n\n'],
    ['LF before CR, which are two', 'a\n\rb', 'data: a\ndata: \ndata: b\n\n'],
    ['a line break at the end', 'a\n', 'data: a\ndata: \n\n'],
    ['a line break alone', '\r\n', 'data: \ndata: \n\n'],
    ['a number', 0, 'data: 0\n\n'],
    ['NaN, as JSON has it', NaN, 'data: null\n\n'],
    ['a boolean', false, 'data: false\n\n'],
    ['null', null, 'data: null\n\n'],
    ['undefined', undefined, 'data: null\n\n'],
    ['an array', [1, 'a\nb'], 'data: [1,"a\\nb"]\n\n'],
    ['an object without data', { message: 'hi' }, 'data: {"message":"hi"}\n\n'],
    ['an object with a toJSON', new Date(0), 'data: "1970-01-01T00:00:00.000Z"\n\n'],
    ['data that is null', { data: null }, 'data: null\n\n'],
    ['data that is undefined', { data: undefined, type: 't' }, 'event: t\ndata: null\n\n'],
    [
      'every field',
      { data: 'd', type: 't', id: 'i', retry: 3, comment: 'c' },
      ': c\nevent: t\nretry: 3\ndata: d\nid: i\n\n',
    ],
    ['a type that is empty', { data: 'd', type: '' }, 'data: d\n\n'],
    ['an id that is empty', { data: 'd', id: '' }, 'data: d\nid: \n\n'],
    ['the number 0 as an id', { data: 'd', id: 0 }, 'data: d\nid: 0\n\n'],
    ['a retry of 0', { data: 'd', retry: 0 }, 'retry: 0\ndata: d\n\n'],
    ['a retry of -0', { data: 'd', retry: -0 }, 'retry: 0\ndata: d\n\n'],
    ['a retry with an id', { retry: 5, id: 'i' }, 'retry: 5\nid: i\n\n'],
    ['a lone surrogate', 'a\ud800b', 'data: a\ufffdb\n\n'],
    ['a lone surrogate in JSON', ['\udc00'], 'data: ["\\udc00"]\n\n'],
    ['an ObjectId as an id', { data: 'd', id: new ObjectId() }, 'data: d\nid: 65f0c0ffee0000000000cafe\n\n'],
    ['a BigInt as an id', { data: 'd', id: 9007199254740993n }, 'data: d\nid: 9007199254740993\n\n'],
    ['a number as a type', { data: 'd', type: 2 }, 'event: 2\ndata: d\n\n'],
    ['a number as a comment', { data: 'd', comment: 5 }, ': 5\ndata: d\n\n'],
    ['a retry of digits', { data: 'd', retry: '5000' }, 'retry: 5000\ndata: d\n\n'],
    ['a retry that is a BigInt', { data: 'd', retry: 5n }, 'retry: 5\ndata: d\n\n'],
    ['a retry of a day', { data: 'd', retry: 86_400_000 }, 'retry: 86400000\ndata: d\n\n'],
    ['what ends a line for Python, in JSON', ['\u0085\u2028\u2029'], 'data: ["\\u0085\\u2028\\u2029"]\n\n'],
    ['a NUL in JSON', ['\0'], 'data: ["\\u0000"]\n\n'],
    ['a type without data, which is data', { type: 'complete' }, 'data: {"type":"complete"}\n\n'],
    ['a NUL in data', 'a\0b', 'data: a\0b\n\n'],
    ['U+2028 in data, which ends no line here', 'a\u2028b', 'data: a\u2028b\n\n'],
  ])('encodes %s', (_, value, frame) => {
    expect(encode(value)).toBe(frame);
  });

  it('ends a frame that holds only a comment without a blank line, since some clients would fire an empty message', () => {
    expect(encode({ comment: 'a\r\nb' })).toBe(': a\n: b\n');
    expect(encode({ comment: '', type: '', data: undefined })).toBe(': \n');
  });

  it('ends a frame that holds only a retry with a blank line, since some clients apply it there', () => {
    expect(encode({ retry: 5 })).toBe('retry: 5\n\n');
    expect(encode({ retry: 5, comment: 'c' })).toBe(': c\nretry: 5\n\n');
  });

  it.each([
    ['an id', { comment: 'c', id: '1' }],
    ['a type', { comment: 'c', type: 't' }],
    ['an id with a retry', { retry: 5, id: '1' }],
  ])('does not let %s that comes without data run on into the next frame', (_, value) => {
    expect(hear([encode(value) + encode('next')]).at(-1)).toEqual({ data: 'next' });
  });

  it('sends the same frozen object any number of times, and leaves it as it was', () => {
    const shared = Object.freeze({ data: Object.freeze({ n: 1 }), type: 't' });

    expect([encode(shared), encode(shared)]).toEqual(Array(2).fill('event: t\ndata: {"n":1}\n\n'));
    expect(shared).toEqual({ data: { n: 1 }, type: 't' });
  });

  it('reads an event that is a class with getters', () => {
    class OrderEvent {
      readonly type = 'order';
      get data() {
        return { order: 42 };
      }
    }

    expect(encode(new OrderEvent())).toBe('event: order\ndata: {"order":42}\n\n');
  });

  const circular: Record<string, unknown> = {};
  circular.self = circular;
  it.each([
    ['LF in an id', 'id', { data: 1, id: '1\ndata: forged' }, '"1\\ndata: forged"'],
    ['CR in an id', 'id', { data: 1, id: '1\r' }, '"1\\r"'],
    ['NUL in an id', 'id', { data: 1, id: '1\0' }, '"1\\u0000"'],
    ['a tab in an id', 'id', { data: 1, id: '1\t2' }, '"1\\t2"'],
    ['DEL in an id', 'id', { data: 1, id: '\x7f' }, '"\\u007f"'],
    ['an id that is not ASCII', 'id', { data: 1, id: 'é' }, '"é"'],
    ['an id with a space at its start', 'id', { data: 1, id: ' 1' }, '" 1"'],
    ['an id with a space at its end', 'id', { data: 1, id: '1 ' }, '"1 "'],
    ['an id of a space', 'id', { data: 1, id: ' ' }, '" "'],
    ['an id of 1,025 characters', 'id', { data: 1, id: 'x'.repeat(1025) }, `"${'x'.repeat(80)}…"`],
    ['an id that is NaN', 'id', { data: 1, id: NaN }, 'NaN'],
    ['an id that is infinite', 'id', { data: 1, id: -Infinity }, '-Infinity'],
    ['an id that is an object', 'id', { data: 1, id: { n: 1 } }, 'an object'],
    [
      'an id that is an object without a prototype',
      'id',
      { data: 1, id: Object.create(null) as object },
      'an object',
    ],
    [
      'an object whose text breaks the line as an id',
      'id',
      { data: 1, id: { toString: () => '1\n' } },
      'an object',
    ],
    ['an id that is a Date', 'id', { data: 1, id: new Date(0) }, 'an object'],
    ['an id that is bytes', 'id', { data: 1, id: Buffer.from('1') }, 'an object'],
    ['an id that is a promise', 'id', { data: 1, id: Promise.reject(new Error('late')) }, 'an object'],
    ['an id that is a boolean', 'id', { data: 1, id: true }, 'true'],
    ['an id that is a symbol', 'id', { data: 1, id: Symbol('s\n') }, 'a symbol'],
    ['LF in a type', 'type', { data: 1, type: 'a\nb' }, '"a\\nb"'],
    ['CR in a type', 'type', { data: 1, type: 'a\rb' }, '"a\\rb"'],
    ['NUL in a type', 'type', { data: 1, type: 'a\0' }, '"a\\u0000"'],
    ['a type that is a boolean', 'type', { data: 1, type: true }, 'true'],
    ['a type that is an array', 'type', { data: 1, type: ['a\n'] }, 'an array'],
    ['a negative retry', 'retry', { data: 1, retry: -1 }, '-1'],
    ['a fraction as a retry', 'retry', { data: 1, retry: 1.5 }, '1.5'],
    ['an infinite retry', 'retry', { data: 1, retry: Infinity }, 'Infinity'],
    ['a retry past the safe integers', 'retry', { data: 1, retry: 2 ** 53 }, '9007199254740992'],
    ['a retry of more than a day', 'retry', { data: 1, retry: 86_400_001 }, '86400001'],
    ['a retry that is empty', 'retry', { data: 1, retry: '' }, '""'],
    ['a retry that is an object', 'retry', { data: 1, retry: {} }, 'an object'],
    ['a retry that is a string', 'retry', { data: 1, retry: '5\ndata: x' }, '"5\\ndata: x"'],
    ['a comment that is an object', 'comment', { comment: {} }, 'an object'],
    ['a BigInt', 'data', { data: { n: 5n } }, 'BigInt'],
    ['a BigInt that is the data', 'data', 5n, 'BigInt'],
    ['circular data', 'data', circular, 'circular'],
    ['a function', 'data', () => 1, 'a function'],
    ['a symbol', 'data', Symbol('x'), 'a symbol'],
    ['data whose toJSON gives undefined', 'data', { data: { toJSON: () => undefined } }, 'an object'],
  ])('refuses %s', (_, field, value, shown) => {
    const error = refusal(() => encode(value));

    expect(error).toMatchObject({ name: 'SseError', code: 'event-invalid', field });
    expect(error.message).toContain(`"${field}"`);
    expect(error.message).toContain(shown);
  });

  const throws = () => {
    throw new Error('no');
  };
  it.each([
    ['a line break in a type', { data: 1, type: 'a\nb' }],
    ['a NUL in a type', { data: 1, type: 'a\0' }],
    ['an id that is not ASCII', { data: 1, id: 'é' }],
    ['an id that is NaN', { data: 1, id: NaN }],
    ['an id whose toString throws', { data: 1, id: { toString: throws } }],
    ['a retry of a year', { data: 1, retry: 31_536_000_000 }],
    ['a retry that is no number', { data: 1, retry: 'soon' }],
    ['a circle', { data: circular }],
    ['a BigInt within', { data: { n: 5n } }],
    ['a toJSON that throws', { data: { toJSON: throws } }],
    ['a getter that throws', Object.defineProperty({}, 'data', { get: throws })],
    ['what is too large', { data: 'x'.repeat(2 ** 20) }],
  ])('blames the content for %s', (_, value) => {
    const error = refusal(() => encode(value));

    expect(isContentFault(error)).toBe(true);
    expect(inspect(error)).toMatch(/^SseError: /);
  });

  it.each([
    ['bytes', Buffer.from('x')],
    ['a promise', { data: Promise.resolve(1) }],
    ['a function', () => 1],
    ['an id that is an object', { data: 1, id: {} }],
    ['a type that is a boolean', { data: 1, type: false }],
    ['a comment that is an array', { comment: [] }],
    ['a retry that is an object', { data: 1, retry: {} }],
  ])('blames the code for %s', (_, value) => {
    expect(isContentFault(refusal(() => encode(value)))).toBe(false);
  });

  it('refuses an id where ids are not the app’s, and looks at the field, not at the frame', () => {
    const following = (value: unknown) => encodeEvent(value, limits, 'ids are the log’s');

    expect(() => following({ id: 1, data: 'x' })).toThrow('ids are the log’s');
    expect(() => following({ id: '', data: 'x' })).toThrow('ids are the log’s');
    expect(following({ text: 'a\u2028id: 1' })).toBe('data: {"text":"a\\u2028id: 1"}\n\n');
    expect(following('a\nid: 1\u2028id: 1')).toBe('data: a\ndata: id: 1\u2028id: 1\n\n');
  });

  it('keeps the cause where JSON fails', () => {
    const cause = new Error('no "JSON" today\nnor tomorrow');
    const data = {
      toJSON() {
        throw cause;
      },
    };

    const error = refusal(() => encode({ data }));

    expect(error.cause).toBe(cause);
    expect(error.message).toBe('"data" cannot be written as JSON: "no \\"JSON\\" today".');
  });

  it('quotes what it refuses so that no log line breaks or runs on', () => {
    const error = refusal(() => encode({ data: 1, type: `\n\u001b[2J\u009b\u2028${'x'.repeat(1e6)}` }));

    expect(error.message).toMatch(/^[\x20-\x7e…]{1,200}$/);
    expect(error.message).toContain('"\\n\\u001b[2J\\u009b\\u2028xxx');
  });
});

describe('maxEventBytes', () => {
  it('counts the whole frame in UTF-8 bytes', () => {
    fc.assert(
      fc.property(event, (each) => {
        const frame = encode(each);
        const bytes = Buffer.byteLength(frame);

        expect(encodeWithin(bytes, each)).toBe(frame);
        const error = refusal(() => encodeWithin(bytes - 1, each));
        expect(error.code).toBe('event-too-large');
        expect(error.message).toContain(`maxEventBytes is ${bytes - 1}`);
      }),
    );
  });

  it('says how many bytes there are', () => {
    expect(refusal(() => encodeWithin(10, { type: 'ü', data: '12' })).message).toBe(
      'The event has 20 bytes, and maxEventBytes is 10.',
    );
    expect(refusal(() => encodeWithin(10, 'ü'.repeat(6)))).toMatchObject({
      message: 'The data alone has 12 bytes, and maxEventBytes is 10.',
      field: 'data',
    });
    expect(refusal(() => encodeWithin(10, { comment: 'x'.repeat(11) }))).toMatchObject({
      message: 'The comment alone has 11 bytes, and maxEventBytes is 10.',
      field: 'comment',
    });
  });

  it('refuses data that is far too long before it is split into lines', () => {
    const breaks = '\n'.repeat(2 ** 24);

    expect(refusal(() => encodeWithin(1000, breaks)).message).toContain('The data alone has 16777216 bytes');
  });
});

describe('a record of a log', () => {
  const record = fc.record({ data, type: fc.option(hostileText, { nil: undefined }) });
  const id = 'e1-7-0000abcd';

  it('is read back with its id, in both orders, or was refused', () => {
    fc.assert(
      fc.property(record, cuts, (each, places) => {
        const payload = outcomeOf(() => encodePayload(each, limits));
        if (typeof payload === 'string') {
          expect(each.type).toMatch(/[\r\n\0]/);
          return;
        }
        const wanted = expected({ ...each, id });

        expect(hearBytes(encodeRecord(payload, id), places)).toEqual(wanted);
        expect(hearBytes(encodeRunRecord(payload, id), places)).toEqual(wanted);
      }),
      { numRuns: 500 },
    );
  });

  it('has its id after the data for topics, and before it for runs', () => {
    const payload = encodePayload({ type: 't', data: 'a\nb' }, limits);

    expect(encodeRecord(payload, id)).toBe(`event: t\ndata: a\ndata: b\nid: ${id}\n\n`);
    expect(encodeRunRecord(payload, id)).toBe(`id: ${id}\nevent: t\ndata: a\ndata: b\n\n`);
  });

  it.each(['id', 'retry', 'comment'])('has no %s of the app', (field) => {
    expect(refusal(() => JSON.stringify(encodePayload({ data: 1, [field]: 5 }, limits)))).toMatchObject({
      code: 'event-invalid',
      field,
    });
  });
});

describe('encodeComment', () => {
  it('is heard as a comment for each line and as nothing else, with no blank line', () => {
    fc.assert(
      fc.property(hostileText, cuts, (text, places) => {
        const comment = encodeComment(text, limits);

        expect(hearBytes(comment, places)).toEqual(expected({ comment: text }));
        expect(comment.split('\n').indexOf('')).toBe(comment.split('\n').length - 1);
      }),
    );
  });

  it.each([
    ['', ': \n'],
    ['a', ': a\n'],
    ['a\rb\r\nc\n', ': a\n: b\n: c\n: \n'],
    ['\ud800', ': \ufffd\n'],
  ])('encodes %j', (text, lines) => {
    expect(encodeComment(text, limits)).toBe(lines);
  });

  it('refuses what is no string', () => {
    expect(refusal(() => encodeComment(true as unknown as string, limits))).toMatchObject({
      code: 'event-invalid',
      field: 'comment',
    });
  });

  it('counts its lines towards maxEventBytes', () => {
    expect(encodeComment('a\nb', { maxEventBytes: 8 })).toBe(': a\n: b\n');
    expect(refusal(() => encodeComment('a\nb', { maxEventBytes: 7 }))).toMatchObject({
      code: 'event-too-large',
      message: 'The comment has 8 bytes, and maxEventBytes is 7.',
    });
  });
});

describe('encodeRetry', () => {
  it('is a line without a blank one, so that it joins the next event', () => {
    expect(encodeRetry(3000)).toBe('retry: 3000\n');
    expect(hear([encodeRetry(3000) + encode('x')])).toEqual([{ retry: 3000 }, ...expected({ data: 'x' })]);
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 31, '3000'])('refuses %p', (ms) => {
    expect(refusal(() => encodeRetry(ms as number))).toMatchObject({ code: 'event-invalid', field: 'retry' });
  });
});

describe('HEARTBEAT', () => {
  it('is a comment and no event, and leaves the block that it stands in as it is', () => {
    expect(hear([encodeRetry(5) + HEARTBEAT + encode({ data: 'x', id: '1' })])).toEqual([
      { retry: 5 },
      { comment: '' },
      { event: undefined, id: '1', data: 'x' },
    ]);
  });
});
