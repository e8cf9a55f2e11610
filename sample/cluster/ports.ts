import { once } from 'node:events';
import { connect, createServer } from 'node:net';

// A system picks the ports of outgoing connections above these. One of those
// could be taken when a process that has died is started again on its port.
const LOWEST = 10_000;
const HIGHEST = 21_999;

const found = new Set<number>();

/** Finds a free port, another one on each call. */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    if (found.has(port) || !(await isFree(port, '127.0.0.1'))) {
      continue;
    }
    found.add(port);
    return port;
  }
}

export async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE' || code === 'EACCES') {
      return false;
    }
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/** Whether somebody accepts connections there. */
export async function isServed(port: number, host: string): Promise<boolean> {
  // An address for all interfaces is none to connect to, not everywhere.
  const socket = connect(port, host === '0.0.0.0' ? '127.0.0.1' : host);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    // Refused: not yet.
    return false;
  } finally {
    socket.destroy();
  }
}
