import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Random } from './random.js';

/** A network that fails: it ends each connection after some bytes of the server's, wherever that is. */
export class CuttingProxy {
  /** How many connections it has ended. */
  cuts = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: URL, random: Random, bytesOf: (random: Random) => number) {
    this.#server = createServer((client) => {
      const upstream = connect(Number(target.port), target.hostname);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        // What the other side makes of a cut is what a test looks at.
        socket.on('error', () => undefined);
        socket.on('close', () => this.#sockets.delete(socket));
      }
      client.pipe(upstream);
      client.on('close', () => upstream.destroy());
      this.#cutAfter(bytesOf(random), { client, upstream, byReset: random.next() < 0.5 });
    });
  }

  /** @param bytesOf how many bytes the next connection lets through */
  static async start(
    target: string,
    random: Random,
    bytesOf: (random: Random) => number,
  ): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(new URL(target), random, bytesOf);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get base(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const stopped = new Promise((resolve) => this.#server.close(resolve));
    this.#sockets.forEach((socket) => socket.destroy());
    await stopped;
  }

  #cutAfter(
    bytes: number,
    { client, upstream, byReset }: { client: Socket; upstream: Socket; byReset: boolean },
  ): void {
    let left = bytes;
    upstream.on('data', (data) => {
      left -= data.length;
      if (left > 0) {
        client.write(data);
        return;
      }
      this.cuts += 1;
      upstream.destroy();
      client.write(data.subarray(0, data.length + left));
      if (byReset) {
        client.resetAndDestroy();
      } else {
        client.destroySoon();
      }
    });
    upstream.on('end', () => client.end());
  }
}
