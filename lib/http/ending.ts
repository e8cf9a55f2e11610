import type { EventEmitter } from 'node:events';

/** Those who wait for an emitter to end, behind the one listener that it has for all of them. */
interface Waiting {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

// A listener for each who waits would pass Node's limit of ten, and removing one costs a search through all of them.
const waitingFor = new WeakMap<EventEmitter, Waiting>();

/**
 * Calls back once, when a socket, response or HTTP/2 stream is over: when it emits `close`, or `finish`, whichever comes
 * first. An HTTP/2 stream whose response has ended emits `close` only after its client has finished sending, too.
 *
 * However many wait for one emitter, it has one listener for each of the two events, and none when nobody waits.
 *
 * @returns What to call so as to wait no longer.
 */
export function onEnding(emitter: EventEmitter, callback: () => void): () => void {
  const waiting = waitingFor.get(emitter) ?? startWaiting(emitter);
  // Of its own, so that one function given twice waits twice.
  const entry = () => callback();
  waiting.callbacks.add(entry);
  return () => {
    if (waiting.callbacks.delete(entry) && waiting.callbacks.size === 0) stopWaiting(emitter, waiting);
  };
}

function startWaiting(emitter: EventEmitter): Waiting {
  const callbacks = new Set<() => void>();
  const listener = () => {
    stopWaiting(emitter, waiting);
    // Emptied first: a callback may stop others from waiting, which by now has nothing to remove.
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
    // The app's own teardown has thrown, for one of those who wait. The others have been told.
    if (failures.length > 0) throw failures[0];
  };
  const waiting = { callbacks, listener };
  emitter.on('close', listener);
  emitter.on('finish', listener);
  waitingFor.set(emitter, waiting);
  return waiting;
}

function stopWaiting(emitter: EventEmitter, { listener }: Waiting): void {
  emitter.off('close', listener);
  emitter.off('finish', listener);
  waitingFor.delete(emitter);
}
