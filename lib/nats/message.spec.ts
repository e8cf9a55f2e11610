import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { NewRecord } from '../log/index.js';
import { bodyOf, draftOf, messageOf, recordOf, recordsOf } from './message.js';
import type { StreamMessage } from './message.js';
import { subjectOf, tokenOf, topicOf } from './subject.js';

const BASE = 'sse.topics.events';

// Tokens as topics have them: printable ASCII without a dot; wildcards as a log may be asked for them, too.
const token = fc.string({
  unit: fc.oneof(
    fc.constantFrom('%', '2', 'A', '3', 'E', '5', '*', '>'),
    fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code).replace('.', '-')),
  ),
  minLength: 1,
  maxLength: 12,
});
const topic = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join('.'));
const text = fc.string({ unit: 'binary', maxLength: 50 });
const record = fc.record<NewRecord>(
  { topic, type: text, data: text, isJson: fc.boolean() },
  { requiredKeys: ['topic', 'data', 'isJson'] },
);

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
      fc.property(fc.string({ unit: 'binary', maxLength: 8 }), (name) => {
        const made = tokenOf(name);
        expect(made).toMatch(/^[\w%~-]+$/);
        expect(seen.get(made) ?? name).toBe(name);
        seen.set(made, name);
      }),
    );
    expect(new Set(['', '%', 'a.b', 'a%2Eb', '\ud800', '\udc00', '%ud800'].map(tokenOf)).size).toBe(7);
  });
});

it.each([
  ['a run of 512 CJK characters', '漢'.repeat(512)],
  ['halves of pairs', '\ud800'.repeat(512)],
  ['what is escaped twice', '%.*'.repeat(170)],
])('A name is bounded in bytes, and differs from one that is as long: %s', (_what, name) => {
  expect(tokenOf(name).length).toBeLessThanOrEqual(255);
  expect(tokenOf(name)).toMatch(/^[\w%~-]+$/);
  expect(tokenOf(`${name.slice(0, -1)}a`)).not.toBe(tokenOf(name));
  expect(tokenOf(tokenOf(name))).not.toBe(tokenOf(name));
});

describe('An event as a message', () => {
  it('is read back as it was, with the data as its payload', () => {
    fc.assert(
      fc.property(record, (given) => {
        const draft = draftOf(given, '0000abcd', 1_234);
        const { subject, data, headers } = messageOf(draft, BASE);
        expect(Buffer.from(data).toString()).toBe(draft.data);
        expect(headers.every(([, value]) => /^[!-~ ]*$/.test(value))).toBe(true);
        const read = recordOf(stored(subject, data, headers), BASE);
        expect(read).toEqual({
          ...draft,
          ...(draft.type === undefined ? {} : { type: draft.type.toWellFormed() }),
          sequence: 7,
        });
      }),
    );
  });

  it('of another program is an event all the same, and the same for everyone', () => {
    const foreign = stored(`${BASE}.a.b`, Buffer.from('text'));
    expect(recordOf(foreign, BASE)).toEqual(recordOf({ ...foreign }, BASE));
    expect(recordOf(foreign, BASE)).toMatchObject({ topic: 'a.b', data: 'text', isJson: false, time: 1_000 });
    const other = stored(`${BASE}.a.b`, Buffer.from('other'));
    expect(recordOf(other, BASE).nonce).not.toBe(recordOf(foreign, BASE).nonce);
  });

  it.each(['', 'x', '0000abcd', 'zzzzzzzz 1 j', '0000abcd 1 j %E0%A4%A'])(
    'with a header that is none of ours is read nevertheless: %j',
    (value) => {
      const read = recordOf(stored(`${BASE}.a`, Buffer.from('text'), [['Sse-Event', value]]), BASE);
      expect(read.nonce).toMatch(/^[0-9a-f]{8}$/);
      expect(read.data).toBe('text');
    },
  );
});

describe('Events in one message', () => {
  it('are read back as they were', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), (given) => {
        const drafts = given.map((each, index) => draftOf(each, `0000000${(index % 9) + 1}`, index));
        const read = recordsOf(bodyOf(drafts), 100);
        const wanted = drafts.map((draft, index) => ({
          ...draft,
          ...(draft.type === undefined ? {} : { type: draft.type.toWellFormed() }),
          sequence: 100 - drafts.length + 1 + index,
        }));
        expect(read).toEqual(wanted);
      }),
    );
  });

  it('are none in a message without a body', () => {
    expect(recordsOf(new Uint8Array(), 5)).toEqual([]);
  });
});
