import { createReadStream } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { of } from 'rxjs';
import { SseError } from '../errors/sse.error.js';
import { disarmPromises, toJson } from './json.js';
import { isContentFault } from './refusal.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const rejection = () => Promise.reject(new Error('late'));

function refusal(data: unknown): SseError {
  try {
    toJson(data);
  } catch (error) {
    if (error instanceof SseError) {
      return error;
    }
    throw error;
  }
  throw new Error('It was taken.');
}

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => void unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', onUnhandled);
});

afterEach(async () => {
  await turn();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

describe('toJson', () => {
  const { buffer } = Uint8Array.of(1, 2);
  it.each<[string, unknown, string, string]>([
    ['a Buffer', Buffer.from('x'), 'bytes (Uint8Array)', 'TextDecoderStream'],
    ['an empty typed array', new Uint8Array(), 'bytes (Uint8Array)', 'eventsource-parser'],
    ['an array of floats', Float64Array.of(1), 'bytes (Float64Array)', 'base64'],
    ['an ArrayBuffer', buffer, 'bytes (ArrayBuffer)', 'base64'],
    ['a SharedArrayBuffer', new SharedArrayBuffer(1), 'bytes (SharedArrayBuffer)', 'base64'],
    ['a DataView', new DataView(buffer), 'bytes (DataView)', 'base64'],
    ['a Blob', new Blob(['x']), 'bytes (Blob)', 'base64'],
    ['a Response', new Response('x'), 'bytes (Response)', 'TextDecoderStream'],
    ['bytes of another realm', runInNewContext('new Uint8Array(1)'), 'bytes (Uint8Array)', 'base64'],
    ['a promise', rejection(), 'a promise', 'concatMap(async …)'],
    ['a promise of another realm', runInNewContext('Promise.reject(1)'), 'a promise', 'Await it'],
    ['a ReadableStream', new ReadableStream(), 'a stream', 'stream()'],
    ['a generator', (async function* () {})(), 'a stream', 'one by one'],
    ['an Observable', of(1), 'an Observable', 'mergeMap()'],
    ['a function', () => 1, 'a function', 'forget to call'],
    ['a symbol', Symbol('s'), 'a symbol', 'description'],
  ])('refuses %s, and names the ways out', (_, data, is, way) => {
    const error = refusal(data);

    expect(error).toMatchObject({ code: 'event-invalid', field: 'data' });
    expect(isContentFault(error)).toBe(false);
    expect(error.message).toContain(`"data" is ${is}`.slice(0, 8));
    expect(error.message).toContain(is);
    expect(error.message).toContain(way);
  });

  it('refuses a Node stream', () => {
    const stream = createReadStream('/dev/null');
    expect(refusal(stream).message).toContain('a stream');
    stream.destroy();
  });

  it.each<[string, unknown, string]>([
    ['a Buffer', { user: { avatar: Buffer.from('x') } }, '"data.user.avatar" is bytes'],
    ['an empty Buffer', [{ avatar: Buffer.alloc(0) }], '"data.0.avatar" is bytes'],
    ['a typed array', { samples: Uint8Array.of(1, 2) }, '"data.samples" is bytes'],
    ['an empty ArrayBuffer', { body: new ArrayBuffer(0) }, '"data.body" is bytes'],
    ['promises', { items: [rejection(), rejection(), 1] }, '"data.items.0" is a promise'],
    ['a stream', { body: new ReadableStream() }, '"data.body" is a stream'],
  ])('refuses %s within, and says where', (_, data, where) => {
    expect(refusal(data).message).toContain(where);
  });

  it('begins no query that was meant to be awaited', () => {
    let begun = 0;
    const query = {};
    Reflect.set(query, 'then', () => (begun += 1));

    expect(refusal(query).message).toContain('something with then()');
    expect(begun).toBe(0);
  });

  it('shows a key that a user has chosen so that no log line breaks', () => {
    expect(refusal({ ['\n\u009b2J']: [rejection()] }).message).toMatch(/^[\x20-\x7e…]+$/);
  });

  it.each<[string, unknown]>([
    ['an empty object', { a: {}, b: [{}] }],
    ['an object that counts', { 0: 'a', 1: 'b' }],
    ['what a Buffer says of itself', Buffer.from('ab').toJSON()],
    ['an object with methods', { n: 1, describe: () => 'x' }],
    ['a then that is no function', JSON.parse('{"then":"later","pipe":1,"getReader":null}')],
    ['an object with a toJSON', { when: new Date(0), of: { toJSON: () => ({}) } }],
    ['text that looks like it', '{}{"0":{"type":"Buffer"'],
    ['Map, Set and Error, of which JSON makes nothing', [new Map([[1, 2]]), new Set([1]), new Error('a')]],
  ])('takes %s as JSON does', (_, data) => {
    expect(toJson(data)).toBe(JSON.stringify(data));
  });

  it('takes every value of JSON, with nothing in it that ends a line for anybody', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (data) => {
        const json = toJson(data);

        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(data)));
        expect(json).not.toMatch(/[\n\r\v\f\x1c-\x1e\u0085\u2028\u2029]/);
      }),
    );
  });
});

describe('disarmPromises', () => {
  it.each<[string, unknown]>([
    ['an event', rejection()],
    ['the data of one', { data: rejection() }],
  ])('lets nobody miss the rejection of %s', async (_, value) => {
    disarmPromises(value);
    await turn();
    expect(unhandled).toEqual([]);
  });

  it.each([[null], ['text'], [{ data: null }], [[]]])('leaves %j alone', (value) => {
    expect(() => disarmPromises(value)).not.toThrow();
  });
});
