import type { EventEmitter } from 'node:events';

// One listener for all that wait on a socket: with one for each, ten requests would make Node warn of a leak.
const waitingOn = new WeakMap<EventEmitter, Set<() => void>>();

/**
 * Calls back when a socket closes, for a response that is pipelined behind another: Node tells the
 * end of a socket only to the response whose turn it is.
 *
 * @returns what to call so as to wait no longer
 */
export function onSocketClose(socket: EventEmitter, callback: () => void): () => void {
  const callbacks = waitingOn.get(socket) ?? listen(socket);
  callbacks.add(callback);
  return () => {
    if (callbacks.delete(callback) && callbacks.size === 0) {
      stopListening(socket);
    }
  };
}

function listen(socket: EventEmitter): Set<() => void> {
  const callbacks = new Set<() => void>();
  waitingOn.set(socket, callbacks);
  socket.on('close', onClose);
  return callbacks;
}

function stopListening(socket: EventEmitter): void {
  waitingOn.delete(socket);
  socket.removeListener('close', onClose);
}

function onClose(this: EventEmitter): void {
  const callbacks = [...(waitingOn.get(this) ?? [])];
  stopListening(this);
  // Each is a connection's own, which catches what it calls.
  for (const callback of callbacks) {
    callback();
  }
}
