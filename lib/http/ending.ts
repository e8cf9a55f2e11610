import type { EventEmitter } from 'node:events';

/** The listener of one emitter, and the callbacks that it calls. */
interface EndListener {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

// One listener for all callbacks: with more than ten Node warns of a leak, and to remove one it searches through all.
const listeners = new WeakMap<EventEmitter, EndListener>();

/**
 * Calls back once when a socket, a response or an HTTP/2 stream emits `close` or `finish`, whichever comes first.
 *
 * - An HTTP/2 stream whose response has ended emits `close` only after its client has finished sending, too.
 * - Node tells the end of a socket only to the response whose turn it is. A response that is pipelined behind another
 *   has to listen on the socket itself.
 *
 * The emitter has one listener for each of the two events, however many callbacks it has, and none without a callback.
 *
 * @returns a function that removes the callback
 */
export function whenEnded(emitter: EventEmitter, callback: () => void): () => void {
  const listener = listeners.get(emitter) ?? addListener(emitter);
  // A new function, so that one callback given twice counts twice.
  const entry = () => callback();
  listener.callbacks.add(entry);
  return () => {
    if (listener.callbacks.delete(entry) && listener.callbacks.size === 0) {
      removeListener(emitter, listener);
    }
  };
}

function addListener(emitter: EventEmitter): EndListener {
  const callbacks = new Set<() => void>();
  const listener = () => {
    removeListener(emitter, added);
    // Emptied first: a callback may remove others, and then there must be nothing left to remove.
    const due = [...callbacks];
    callbacks.clear();
    const failures: unknown[] = [];
    for (const callback of due) {
      try {
        callback();
      } catch (error) {
        failures.push(error);
      }
    }
    // The app's own teardown has thrown. All other callbacks have been called.
    if (failures.length > 0) {
      throw failures[0];
    }
  };
  const added = { callbacks, listener };
  emitter.on('close', listener);
  emitter.on('finish', listener);
  listeners.set(emitter, added);
  return added;
}

function removeListener(emitter: EventEmitter, { listener }: EndListener): void {
  emitter.off('close', listener);
  emitter.off('finish', listener);
  listeners.delete(emitter);
}
