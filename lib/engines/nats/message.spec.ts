import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { codePoint } from '../../../test/support/code-point.js';
import type { NewRecord } from '../../log/index.js';
import { problemOf, RecordCheck } from '../index.js';
import { bodyOf, draftOf, headerNonceOf, messageOf, nonceOf, recordOf, recordsOf } from './message.js';
import type { StreamMessage } from './message.js';
import { stateHeader, stateOf } from './named/state.js';
import { subjectOf, subjectTokenOf, topicOf } from './subject.js';

const BASE = 'sse.topics.events';
const LIMITS = { maxEventBytes: 1_048_576 };
const RULES = { check: new RecordCheck('NATS', { warn: () => undefined }), limits: LIMITS };
const read = (message: StreamMessage) => recordOf(message, BASE, RULES);

// Tokens as topics have them: printable ASCII without a dot.
const token = fc.string({
  unit: fc.oneof(
    fc.constantFrom('%', '2', 'A', '3', 'E', '5', '*', '>'),
    fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code).replace('.', '-')),
  ),
  minLength: 1,
  maxLength: 12,
});
const topic = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join('.'));
const text = fc.string({ unit: codePoint, maxLength: 50 });
// No event is published to a wildcard.
const plainTopic = topic.map((name) => name.replace(/(?<=^|\.)[*>](?=\.|$)/g, '$&x'));
const type = text.map((value) => `x${value.replace(/[\r\n]/g, '')}`);
const record = fc
  .record<NewRecord>(
    { topic: plainTopic, type, data: text, isJson: fc.boolean() },
    { requiredKeys: ['topic', 'data', 'isJson'] },
  )
  .map((given) => ({ ...given, data: given.isJson ? JSON.stringify(given.data) : given.data }));
const asRead = (draft: NewRecord) => ({
  ...draft,
  ...(draft.type === undefined ? {} : { type: draft.type.toWellFormed() }),
});

const stored = (
  subject: string,
  data: Uint8Array,
  headers: readonly (readonly string[])[] = [],
): StreamMessage => ({
  subject,
  sequence: 7,
  time: 1_000,
  data,
  header: (name) => headers.find(([key]) => key === name)?.[1] ?? '',
});

describe('A topic as a subject', () => {
  it('holds no wildcard, and is read back', () => {
    fc.assert(
      fc.property(topic, (name) => {
        const subject = subjectOf(name);
        expect(subject).toMatch(/^[!-~]+$/);
        expect(subject).not.toMatch(/[*>]/);
        expect(subject.split('.')).toHaveLength(name.split('.').length);
        expect(topicOf(subject)).toBe(name);
      }),
    );
  });

  it.each([
    ['orders.42.status', 'orders.42.status'],
    ['users.a%2Eb', 'users.a%2Eb'],
    ['a.*.>', 'a.%2A.%3E'],
    ['a.%2A', 'a.%252A'],
  ])('is the same, but for what NATS has other uses for: %s', (name, subject) => {
    expect(subjectOf(name)).toBe(subject);
  });
});

describe('A name as a token', () => {
  it('holds nothing that NATS or a stream’s name has other uses for, and is no other name’s', () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(fc.string({ unit: codePoint, maxLength: 8 }), (name) => {
        const made = subjectTokenOf(name);
        expect(made).toMatch(/^[\w%~-]+$/);
        expect(seen.get(made) ?? name).toBe(name);
        seen.set(made, name);
      }),
    );
    expect(new Set(['', '%', 'a.b', 'a%2Eb', '\ud800', '\udc00', '%ud800'].map(subjectTokenOf)).size).toBe(7);
  });
});

it.each([
  ['a run of 512 CJK characters', '漢'.repeat(512)],
  ['halves of pairs', '\ud800'.repeat(512)],
  ['what is escaped twice', '%.*'.repeat(170)],
])('A name is bounded in bytes, and differs from one that is as long: %s', (_what, name) => {
  expect(subjectTokenOf(name).length).toBeLessThanOrEqual(255);
  expect(subjectTokenOf(name)).toMatch(/^[\w%~-]+$/);
  expect(subjectTokenOf(`${name.slice(0, -1)}a`)).not.toBe(subjectTokenOf(name));
  expect(subjectTokenOf(subjectTokenOf(name))).not.toBe(subjectTokenOf(name));
});

describe('An event as a message', () => {
  it('is read back as it was, with the data as its payload', () => {
    fc.assert(
      fc.property(record, (given) => {
        const draft = draftOf(given, '0000abcd', 1_234);
        const { subject, data, headers } = messageOf(draft, BASE);
        expect(Buffer.from(data).toString()).toBe(draft.data);
        expect(headers.every(([, value]) => /^[!-~ ]*$/.test(value))).toBe(true);
        const message = stored(subject, data, headers);
        expect(read(message)).toEqual({ ...asRead(draft), sequence: 7 });
        expect([nonceOf(message, BASE, RULES), headerNonceOf(message)]).toEqual(['0000abcd', '0000abcd']);
      }),
    );
  });

  it('of another program is an event all the same, and the same for everyone', () => {
    const foreign = stored(`${BASE}.a.b`, Buffer.from('text'));
    expect(read(foreign)).toEqual(read({ ...foreign }));
    expect(read(foreign)).toMatchObject({ topic: 'a.b', data: 'text', isJson: false, time: 1_000 });
    const other = stored(`${BASE}.a.b`, Buffer.from('other'));
    expect(read(other)!.nonce).not.toBe(read(foreign)!.nonce);
    expect(headerNonceOf(foreign)).toBeUndefined();
  });

  it.each([
    '',
    'x',
    '0000abcd',
    'zzzzzzzz 1 j',
    '00000000 1 t',
    '0000abcd 1 x',
    '0000abcd 1e3 t',
    '0000abcd 99999999999999999 t',
    '0000abcd -1 t',
    '0000abcd 1 t %E0%A4%A',
    '0000abcd 1 t a%0Aid: 9-9-9',
    '0000abcd 1 t %0D',
    '0000abcd 1 t ',
    '0000abcd 1 j',
    '0000abcd 1 j a',
  ])('with a header that cannot be ours is text: %j', (value) => {
    const message = stored(`${BASE}.a`, Buffer.from('text'), [['Sse-Event', value]]);
    const { nonce } = read(stored(`${BASE}.a`, Buffer.from('text')))!;
    expect(read(message)).toEqual({
      topic: 'a',
      data: 'text',
      isJson: false,
      time: 1_000,
      nonce,
      sequence: 7,
    });
    expect(nonceOf(message, BASE, RULES)).toBe(nonce);
  });

  it.each([
    ['a payload past maxEventBytes', stored(`${BASE}.a`, Buffer.alloc(1_048_577, 'x'))],
    [
      'a topic of 17 tokens',
      stored(`${BASE}.${Array.from({ length: 17 }, () => 'a').join('.')}`, Buffer.from('x')),
    ],
    ['a topic of 257 characters', stored(`${BASE}.${'a'.repeat(257)}`, Buffer.from('x'))],
    ['a topic that is no printable ASCII', stored(`${BASE}.a\u001b[2J`, Buffer.from('x'))],
    ['a wildcard for a topic', stored(`${BASE}.a.%3E`, Buffer.from('x'))],
  ])('is none, and has a nonce for its place: %s', (_what, message) => {
    expect(read(message)).toBeUndefined();
    expect(nonceOf(message, BASE, RULES)).toMatch(/^[0-9a-f]{8}$/);
  });

  it('whatever it is, is nothing that harms who reads it', () => {
    const header = fc.oneof(
      text,
      fc
        .tuple(fc.constantFrom('0000abcd', '1'), text, fc.constantFrom('j', 't', ''), text)
        .map((all) => all.join(' ')),
    );
    fc.assert(
      fc.property(text, header, fc.uint8Array({ maxLength: 80 }), (subject, value, data) => {
        const found = read(stored(`${BASE}.${subject}`, data, [['Sse-Event', value]]));
        expect(found && problemOf(found, LIMITS)).toBeUndefined();
      }),
    );
  });
});

describe('Events in one message', () => {
  const readAll = (body: Uint8Array, last: number) => recordsOf(body, last, RULES);
  const records = fc.array(record, { minLength: 1, maxLength: 20 });
  const drafted = (given: readonly NewRecord[]) =>
    given.map((each, index) => draftOf(each, `0000000${(index % 9) + 1}`, index));

  it('are read back as they were', () => {
    fc.assert(
      fc.property(records, (given) => {
        const drafts = drafted(given);
        const wanted = drafts.map((draft, index) => ({
          ...asRead(draft),
          sequence: 100 - drafts.length + 1 + index,
        }));
        expect(readAll(bodyOf(drafts), 100)).toEqual(wanted);
      }),
    );
  });

  it('are none in a message without a body', () => {
    expect(readAll(new Uint8Array(), 5)).toEqual([]);
  });

  it('are none, all of them, where anything of it was cut or changed so that it cannot be ours', () => {
    fc.assert(
      fc.property(records, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 9 }), (given, at, noise) => {
        const body = Buffer.from(bodyOf(drafted(given)));
        const from = at % body.length;
        const changed = Buffer.concat([body.subarray(0, from), noise, body.subarray(from + noise.length)]);
        expect(readAll(Buffer.concat([body, noise]), 100)).toBeUndefined();
        expect(readAll(body.subarray(0, body.length - 1 - (at % 3)), 100)).toBeUndefined();
        for (const found of readAll(changed, 100) ?? []) {
          expect(problemOf(found, LIMITS)).toBeUndefined();
        }
        expect(() => readAll(noise, 100)).not.toThrow();
      }),
    );
  });

  it('are none where the sequence cannot be that of so many', () => {
    const body = bodyOf(drafted([1, 2, 3].map((n) => ({ topic: 'a', data: `${n}`, isJson: true }))));
    expect(readAll(body, 3)).toHaveLength(3);
    expect(readAll(body, 2)).toBeUndefined();
  });
});

describe('How a named log stands', () => {
  const state = {
    epoch: 'a1',
    sequence: 5,
    nonce: '0000abcd',
    fence: 7,
    ttlMs: 100.5,
    maxEvents: Infinity,
    hasExpired: false,
    startsAfter: 6,
  };
  const saying = (value: string) => stored('sse.topics.logs.a', new Uint8Array(), [['Sse-Log', value]]);

  it('is read back as it was', () => {
    expect(stateOf(saying(stateHeader(state)[1]))).toEqual({ ...state, streamSequence: 7, time: 1_000 });
  });

  it.each([
    ['', ''],
    ['its epoch is none', 'A! 5 0000abcd 7 100 10 open 6'],
    ['its sequence is none', 'a1 NaN 0000abcd 7 100 10 open 6'],
    ['its nonce is none', 'a1 5 0000abc 7 100 10 open 6'],
    ['its fence is past all numbers', 'a1 5 0000abcd 99999999999999999 100 10 open 6'],
    ['it has no time to live', 'a1 5 0000abcd 7 0 10 open 6'],
    ['it keeps nothing', 'a1 5 0000abcd 7 100 -1 open 6'],
    ['it is neither open nor over', 'a1 5 0000abcd 7 100 10 ajar 6'],
    ['it begins after itself', 'a1 5 0000abcd 7 100 10 open 7'],
  ])('is not said by a header of which %s', (_what, value) => {
    expect(stateOf(saying(value))).toBeUndefined();
  });
});
