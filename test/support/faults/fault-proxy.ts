import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { FaultLink } from './fault-link.js';
import type { LinkRules } from './fault-link.js';
import { findPort } from '../servers/local-server.js';

/** Which bytes vanish: those of clients, those of the server, or all. */
export type Direction = 'to server' | 'to client' | 'both';

/** What a proxy does to every connection from its beginning. */
export interface FaultProxyOptions {
  /** How many bytes of the server's the next connection lets through before it ends, and how it ends. */
  cutAfter?: () => { bytes: number; byReset: boolean };
  /** Reads along. */
  tap?: Wiretap;
}

/** Reads what passes, before it does, and what is lost here. */
export interface Wiretap {
  /** Begins with a connection. */
  open(): { toServer: (bytes: Buffer) => void; toClient: (bytes: Buffer) => void };
}

interface Swallowing {
  readonly of: (request: string) => boolean;
  readonly onSwallowed: (link: FaultLink) => void;
}

/**
 * A network that fails: a TCP proxy in this process, in front of a server of any kind.
 *
 * It has one port for as long as it lives, so what stands behind it may change its own.
 */
export class FaultProxy {
  readonly port: number;
  /** Where new connections go. */
  targetPort: number;
  /** Milliseconds that bytes take, either way. */
  delayMs = 0;
  /** Connections that were ever made. */
  connectionsEver = 0;
  /** How many of them {@link FaultProxyOptions.cutAfter} has ended. */
  cuts = 0;
  readonly #options: FaultProxyOptions;
  readonly #links = new Set<FaultLink>();
  readonly #rules: LinkRules = {
    delayMs: () => this.delayMs,
    isLost: (direction) => this.#hole === 'both' || this.#hole === direction,
    onRequest: (link, bytes) => this.#watchRequest(link, bytes),
  };
  #server: Server | undefined;
  #hole: Direction | undefined;
  #swallowing: Swallowing | undefined;
  #holding: { of: (request: string) => boolean; onHeld: (request: Buffer) => void } | undefined;

  private constructor(port: number, targetPort: number, options: FaultProxyOptions) {
    this.port = port;
    this.targetPort = targetPort;
    this.#options = options;
  }

  static async start(targetPort: number, options: FaultProxyOptions = {}): Promise<FaultProxy> {
    for (;;) {
      const proxy = new FaultProxy(await findPort(), targetPort, options);
      try {
        await proxy.accept();
        return proxy;
      } catch (error) {
        // Another process may have taken the port since.
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') {
          throw error;
        }
      }
    }
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#links.size;
  }

  /** Takes new connections, as it does from the start. */
  async accept(): Promise<void> {
    if (this.#server) {
      return;
    }
    this.#server = createServer((client) => this.#open(client)).listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Refuses new connections, as a machine does where nobody listens. Those that are open stay. */
  refuse(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /**
   * Ends connections at once.
   *
   * @param isDropped - whether to end the one whose client has sent that last, as latin1
   */
  drop(isDropped: (lastRequest: string) => boolean = () => true): void {
    for (const link of this.#links) {
      if (isDropped(link.lastRequest.toString('latin1'))) {
        link.cut({ byReset: true });
      }
    }
  }

  /** From here on bytes vanish. Connections stay open, and new ones can be made. */
  blackHole(direction: Direction): void {
    this.#hole = direction;
  }

  /** Passes bytes on again. Connections that have lost some end. */
  heal(): void {
    this.#hole = undefined;
    this.#links.forEach((link) => link.hasLost && link.cut({ byReset: true }));
  }

  /**
   * Lets the next such request through to the server, and keeps the answer to itself: the server has done what was
   * asked, and nobody hears of it. Resolves then.
   *
   * @param of - whether what a client sends, as latin1, is that request
   * @param then - what becomes of the connection
   */
  swallowReply(of: (request: string) => boolean, then: 'cut' | 'black hole' = 'cut'): Promise<void> {
    return new Promise((resolve) => {
      const onSwallowed = (link: FaultLink) => {
        if (then === 'cut') {
          link.cutClient();
        } else {
          link.becomeHole();
        }
        resolve();
      };
      this.#swallowing = { of, onSwallowed };
    });
  }

  /**
   * Holds back the next such request, and cuts the connection of its client. Resolves with its bytes, for a test that
   * has it arrive when nobody expects it any more.
   */
  holdRequest(of: (request: string) => boolean): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#holding = { of, onHeld: resolve };
    });
  }

  /** Resolves when it has let go of its port and of every connection. */
  async stop(): Promise<void> {
    const closed = this.#server && once(this.#server, 'close');
    this.refuse();
    this.drop();
    await Promise.all([closed, ...Array.from(this.#links, (link) => link.closed)]);
  }

  #open(client: Socket): void {
    this.connectionsEver += 1;
    const link = new FaultLink(client, this.targetPort, this.#rules, this.#options.tap?.open());
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
    const cut = this.#options.cutAfter?.();
    if (!cut) {
      return;
    }
    link.cutAfter(cut.bytes, () => {
      this.cuts += 1;
      return cut;
    });
  }

  #watchRequest(link: FaultLink, bytes: Buffer): void {
    const holding = this.#holding;
    if (holding?.of(bytes.toString('latin1'))) {
      this.#holding = undefined;
      link.loseRequest();
      holding.onHeld(bytes);
      return;
    }
    const swallowing = this.#swallowing;
    if (!swallowing?.of(bytes.toString('latin1'))) {
      return;
    }
    this.#swallowing = undefined;
    link.swallowReply(() => swallowing.onSwallowed(link));
  }
}
