import { describe, expect, it } from '@jest/globals';
import { toEvent, unknownFields } from './event.js';

const refuse = () => {
  throw new Error('written to');
};

const dataOf = (value: unknown) => {
  const { data, ...rest } = toEvent(value);
  expect(Object.values(rest).every((field) => field === undefined)).toBe(true);
  return data;
};

describe('toEvent', () => {
  it.each([
    ['text'],
    [''],
    [0],
    [NaN],
    [true],
    [false],
    [null],
    [undefined],
    [5n],
    [Symbol.iterator],
    [() => 1],
  ])('reads a value that is no object as data: %p', (value) => {
    expect(dataOf(value)).toBe(value);
  });

  it.each([
    ['an array', [1, 2]],
    ['an empty array', []],
    ['an array that has the fields of an event', Object.assign(['x'], { data: 'y', comment: 'z' })],
    ['an object without data', { message: 'hi' }],
    ['an object whose only field of an event is an id', { id: 5 }],
    ['an object with an id beside other fields', { id: 5, name: 'x' }],
    ['an object with a type alone', { type: 'tick' }],
    ['a comment beside a field that no event has', { comment: 'nice', author: 'x' }],
    ['a retry beside a field that no event has', { retry: 3, job: 'x' }],
    ['a comment and a retry that are undefined', { id: 5, comment: undefined, retry: undefined }],
    ['a comment and a retry that are null', { type: 'tick', comment: null, retry: null }],
    ['an empty object', {}],
    ['an object without a prototype', Object.assign(Object.create(null), { message: 'hi' })],
    ['a Date', new Date(0)],
    ['a Map', new Map([['data', 1]])],
    ['a Buffer', Buffer.from('data')],
  ])('reads %s as data as a whole', (_, value) => {
    expect(dataOf(value)).toBe(value);
  });

  it.each([
    ['data alone', { data: 1 }, { data: 1 }],
    ['data that is undefined', { data: undefined, type: 'x' }, { data: undefined, type: 'x' }],
    ['data that is null', { data: null }, { data: null }],
    ['data with unknown fields', { data: 1, event: 'x' }, { data: 1 }],
    ['a comment alone', { comment: 'c' }, { comment: 'c' }],
    ['an empty comment', { comment: '' }, { comment: '' }],
    ['a retry alone', { retry: 0 }, { retry: 0 }],
    [
      'a comment with a type and an id',
      { comment: 'c', type: 't', id: '1' },
      { comment: 'c', type: 't', id: '1' },
    ],
    [
      'every field',
      { data: 1, type: 't', id: 2, retry: 3, comment: 'c' },
      { data: 1, type: 't', id: 2, retry: 3, comment: 'c' },
    ],
    [
      'null in place of an absent field',
      { data: 1, type: null, id: null, retry: null, comment: null },
      { data: 1 },
    ],
    ['an empty id and an empty type', { data: 1, id: '', type: '' }, { data: 1, id: '', type: '' }],
  ])('reads %s as an event', (_, value, event) => {
    expect(toEvent(value)).toEqual(event);
  });

  it('finds getters on the prototype of a class, and reads each once', () => {
    const read: string[] = [];
    class OrderEvent {
      get data() {
        read.push('data');
        return { order: 42 };
      }
      get type() {
        read.push('type');
        return 'order';
      }
      get id() {
        read.push('id');
        return '7';
      }
    }

    expect(toEvent(new OrderEvent())).toEqual({ data: { order: 42 }, type: 'order', id: '7' });
    expect(read).toEqual(['data', 'type', 'id']);
  });

  it('finds a comment that is a getter of a class', () => {
    class Ping {
      get comment() {
        return 'ping';
      }
    }

    expect(toEvent(new Ping())).toEqual({ comment: 'ping' });
  });

  it('leaves frozen objects, and objects that refuse to be written, as they are', () => {
    const frozen = Object.freeze({ data: 'x', id: '1' });
    const guarded = new Proxy(
      { comment: 'c' },
      { set: refuse, defineProperty: refuse, deleteProperty: refuse, setPrototypeOf: refuse },
    );

    expect(toEvent(frozen)).toEqual({ data: 'x', id: '1' });
    expect(toEvent(guarded)).toEqual({ comment: 'c' });
  });
});

describe('unknownFields', () => {
  it('names the fields that an event with data loses', () => {
    expect(
      unknownFields({ data: 1, type: 't', event: 'x', id: 1, retry: 1, comment: '', name: 'y' }),
    ).toEqual(['event', 'name']);
  });

  it.each([
    ['an event', { data: 1, type: 't', id: 2, retry: 3, comment: 'c' }],
    ['an object that is data as a whole', { message: 'hi', name: 'x' }],
    ['an array', Object.assign([1], { data: 1, name: 'x' })],
    ['a string', 'data'],
    ['null', null],
    ['undefined', undefined],
  ])('is empty for %s', (_, value) => {
    expect(unknownFields(value)).toEqual([]);
  });

  it('leaves out what JSON would leave out as well: fields of the prototype', () => {
    class OrderEvent {
      data = 1;
      get name() {
        return 'x';
      }
      describe() {
        return 'y';
      }
    }

    expect(unknownFields(new OrderEvent())).toEqual([]);
  });
});
