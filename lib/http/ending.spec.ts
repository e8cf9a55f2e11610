import { describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import { whenEnded } from './ending.js';

const listeners = (emitter: EventEmitter) => emitter.listenerCount('close') + emitter.listenerCount('finish');

describe('whenEnded', () => {
  it.each(['close', 'finish'])('calls each callback once at %s, and removes its listener', (event) => {
    const emitter = new EventEmitter();
    const called: string[] = [];
    whenEnded(emitter, () => called.push('one'));
    whenEnded(emitter, () => called.push('two'));

    emitter.emit(event);
    emitter.emit('close');

    expect(called).toEqual(['one', 'two']);
    expect(listeners(emitter)).toBe(0);
  });

  it('calls all callbacks if one throws, and throws its error', () => {
    const emitter = new EventEmitter();
    const called: string[] = [];
    whenEnded(emitter, () => {
      throw new Error('of one');
    });
    whenEnded(emitter, () => called.push('two'));

    expect(() => emitter.emit('close')).toThrow('of one');
    expect(called).toEqual(['two']);
    expect(listeners(emitter)).toBe(0);
  });

  it('has one listener for all callbacks, and none without a callback', () => {
    const emitter = new EventEmitter();
    const stops = Array.from({ length: 20 }, () => whenEnded(emitter, () => {}));

    expect([emitter.listenerCount('close'), emitter.listenerCount('finish')]).toEqual([1, 1]);
    for (const stop of stops.slice(1)) {
      stop();
    }
    expect(listeners(emitter)).toBe(2);
    stops[0]?.();
    expect(listeners(emitter)).toBe(0);
  });

  it('counts one callback given twice as two', () => {
    const emitter = new EventEmitter();
    let called = 0;
    const callback = () => called++;
    const stop = whenEnded(emitter, callback);
    whenEnded(emitter, callback);

    stop();
    stop();
    emitter.emit('close');

    expect(called).toBe(1);
  });

  it('keeps callbacks that are added during a call if an earlier one is removed late', () => {
    const emitter = new EventEmitter();
    let called = 0;
    const stop = whenEnded(emitter, () => whenEnded(emitter, () => called++));
    emitter.emit('finish');

    stop();
    whenEnded(emitter, () => called++);

    expect(listeners(emitter)).toBe(2);
    emitter.emit('close');
    expect(called).toBe(2);
  });
});
