import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

const NEW_SOCKET = 'net.client.socket';

/**
 * Runs a dial of the library, and closes its socket if it fails. If the server does not answer in time, the library
 * gives the socket up and leaves it open: it would keep the process alive, one for each attempt.
 */
export async function closeIfFailed<T>(dial: () => Promise<T>): Promise<T> {
  // The library does not expose the socket. Node publishes each new socket on a diagnostics channel, in the async
  // context of its creator.
  const context = new AsyncLocalStorage<true>();
  const sockets: Socket[] = [];
  const onSocket = (message: unknown) => {
    if (context.getStore()) {
      sockets.push((message as { socket: Socket }).socket);
    }
  };
  subscribe(NEW_SOCKET, onSocket);
  try {
    return await context.run(true, dial);
  } catch (error) {
    sockets.forEach((socket) => socket.destroy());
    throw error;
  } finally {
    unsubscribe(NEW_SOCKET, onSocket);
    // On Node 20 each promise of the process costs more while there is a context.
    context.disable();
  }
}

/** Closes the socket of a closed connection that dialed anew. The library leaves it open. */
export function closeDialed(connection: object): void {
  // By shape: it is no part of the library's API.
  const { protocol } = connection as { protocol?: { transport?: { discard?: () => void } } };
  protocol?.transport?.discard?.();
}
