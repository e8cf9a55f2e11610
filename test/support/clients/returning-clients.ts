import { Agent, get } from 'node:http';
import * as http2 from 'node:http2';
import { waitFor } from 'nestjs-event-stream/testing';

/** Clients that come back for their stream as soon as it has ended, on the same connection as long as that lasts. */
export class ReturningClients {
  #visits = 0;
  #isStopped = false;
  readonly #letGo: (() => void)[] = [];

  /** Resolves when each of them has been answered once. */
  static async open(base: string, isHttp2: boolean, path: string, count: number): Promise<ReturningClients> {
    const clients = new ReturningClients();
    for (let n = 0; n < count; n += 1) {
      if (isHttp2) {
        clients.#visitByHttp2(base, path);
      } else {
        clients.#visitByHttp1(base, path);
      }
    }
    await waitFor(() => clients.#visits >= count, { timeoutMs: 15_000 });
    return clients;
  }

  stop(): void {
    this.#isStopped = true;
    this.#letGo.forEach((letGo) => letGo());
  }

  #visitByHttp1(base: string, path: string): void {
    const agent = new Agent({ keepAlive: true });
    this.#letGo.push(() => agent.destroy());
    const visit = (): void => {
      if (this.#isStopped) {
        return;
      }
      const request = get(`${base}${path}`, { agent }, (response) => {
        this.#visits += 1;
        response.on('close', () => setTimeout(visit, 1)).resume();
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ECONNREFUSED') {
          setTimeout(visit, 1);
        }
      });
    };
    visit();
  }

  #visitByHttp2(base: string, path: string): void {
    let session: http2.ClientHttp2Session | undefined;
    let isGone = false;
    this.#letGo.push(() => session?.destroy());
    const connect = () =>
      http2.connect(base).on('error', (error: NodeJS.ErrnoException) => {
        isGone = error.code === 'ECONNREFUSED';
      });
    const visit = (): void => {
      if (this.#isStopped || isGone) {
        return;
      }
      if (!session || session.closed || session.destroyed) {
        session = connect();
      }
      const request = session.request({ ':path': path }).resume();
      request.on('response', () => (this.#visits += 1));
      // The session hears of it, or the next visit does.
      request.on('error', () => undefined);
      request.on('close', () => setTimeout(visit, 1));
    };
    visit();
  }
}
