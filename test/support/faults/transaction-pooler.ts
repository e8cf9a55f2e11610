import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { findPort } from '../servers/local-server.js';

/** Types of messages in PostgreSQL's protocol: a notification, and the end of the answer to a statement. */
const NOTIFICATION = 'A'.charCodeAt(0);
const READY = 'Z'.charCodeAt(0);

/**
 * A proxy to PostgreSQL that does to `LISTEN` what PgBouncer does when it pools transactions: it is accepted, and a
 * notification comes only if the connection has a statement under way.
 */
export class TransactionPooler {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number, server: Server) {
    this.port = port;
    this.#server = server;
  }

  static async start(targetPort: number): Promise<TransactionPooler> {
    const port = await findPort();
    const server = createServer();
    const pooler = new TransactionPooler(port, server);
    server.on('connection', (client) => pooler.#open(client, targetPort));
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return pooler;
  }

  async stop(): Promise<void> {
    this.#sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #open(client: Socket, targetPort: number): void {
    const target = connect(targetPort, '127.0.0.1');
    let rest = Buffer.alloc(0);
    let isIdle = false;
    target.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      // Each message of the server: its type in a byte, then its length without that byte.
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const end = rest.readInt32BE(1) + 1;
        if (rest[0] !== NOTIFICATION || !isIdle) {
          client.write(rest.subarray(0, end));
        }
        isIdle ||= rest[0] === READY;
        rest = rest.subarray(end);
      }
    });
    client.on('data', (bytes) => {
      isIdle = false;
      target.write(bytes);
    });
    const pairs: [Socket, Socket][] = [
      [client, target],
      [target, client],
    ];
    for (const [one, other] of pairs) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}
