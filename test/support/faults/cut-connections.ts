import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** The sockets of connections, whatever the framework's request. */
export function socketsOf(connections: Iterable<{ readonly request: unknown }>): Socket[] {
  return Array.from(connections, ({ request }) => {
    const own = request as IncomingMessage & { raw?: IncomingMessage };
    return (own.raw ?? own).socket;
  });
}

/** Cuts connections off, as a network that fails. */
export function cutConnections(connections: Iterable<{ readonly request: unknown }>): void {
  socketsOf(connections).forEach((socket) => socket.destroy());
}
