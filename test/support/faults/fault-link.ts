import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** What a {@link FaultLink} asks of its proxy. */
export interface LinkRules {
  delayMs(): number;
  isLost(direction: 'to server' | 'to client'): boolean;
  /** Sees what a client sends before the server does. */
  onRequest(link: FaultLink, bytes: Buffer): void;
}

/** One connection of a {@link FaultProxy}: a client's, and the one to the server that it leads to. */
export class FaultLink {
  /** Whether bytes have vanished here: who sent them waits in vain. */
  hasLost = false;
  /** Resolves when both sides have closed. */
  readonly closed: Promise<unknown>;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #rules: LinkRules;
  readonly #lanes: readonly Lane[];
  #isHole = false;
  #lastRequest: Buffer = Buffer.alloc(0);
  #onReply: (() => void) | undefined;
  #cut: { left: number; onCut: () => { byReset: boolean } } | undefined;

  constructor(
    client: Socket,
    targetPort: number,
    rules: LinkRules,
    tap?: { toServer: (bytes: Buffer) => void; toClient: (bytes: Buffer) => void },
  ) {
    this.#client = client;
    this.#server = connect(targetPort, '127.0.0.1');
    this.#rules = rules;
    if (tap) {
      client.on('data', tap.toServer);
      this.#server.on('data', tap.toClient);
    }
    this.#lanes = [
      new Lane(client, this.#server, rules, (bytes) => this.#takeRequest(bytes)),
      new Lane(this.#server, client, rules, (bytes) => this.#takeReply(bytes)),
    ];
    const isClosed = (socket: Socket) =>
      new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.closed = Promise.all([isClosed(client), isClosed(this.#server)]);
  }

  /** What the client has sent last. */
  get lastRequest(): Buffer {
    return this.#lastRequest;
  }

  /** Ends both sides at once. */
  cut({ byReset }: { byReset: boolean }): void {
    this.#lanes.forEach((lane) => lane.clear());
    if (byReset) {
      this.cutClient();
    } else {
      this.#client.destroySoon();
    }
    this.#server.destroy();
  }

  /** Ends the client's side, and lets the server do what it has been sent. */
  cutClient(): void {
    // A socket that is shutting down and then reset never tells that it has closed.
    if (this.#client.writableEnded) {
      this.#client.destroy();
    } else {
      this.#client.resetAndDestroy();
    }
  }

  /** Cuts it when that many bytes of the server's have passed. */
  cutAfter(bytes: number, onCut: () => { byReset: boolean }): void {
    this.#cut = { left: bytes, onCut };
  }

  /** Keeps the server's next answer to itself. */
  swallowReply(onReply: () => void): void {
    this.#onReply = onReply;
  }

  /** Keeps what is being passed from the server, and ends the client's side. */
  loseRequest(): void {
    this.becomeHole();
    this.cutClient();
  }

  /** From here on all bytes vanish. */
  becomeHole(): void {
    this.#isHole = true;
    this.hasLost = true;
  }

  #takeRequest(bytes: Buffer): Buffer | undefined {
    this.#lastRequest = bytes;
    this.#rules.onRequest(this, bytes);
    return this.#lose('to server') ? undefined : bytes;
  }

  #takeReply(bytes: Buffer): Buffer | undefined {
    if (this.#onReply) {
      const onReply = this.#onReply;
      this.#onReply = undefined;
      onReply();
      return undefined;
    }
    if (this.#lose('to client')) {
      return undefined;
    }
    if (!this.#cut) {
      return bytes;
    }
    this.#cut.left -= bytes.length;
    if (this.#cut.left > 0) {
      return bytes;
    }
    const { left, onCut } = this.#cut;
    this.#client.write(bytes.subarray(0, bytes.length + left));
    this.cut(onCut());
    return undefined;
  }

  #lose(direction: 'to server' | 'to client'): boolean {
    const isLost = this.#isHole || this.#rules.isLost(direction);
    this.hasLost ||= isLost;
    return isLost;
  }
}

/** One direction: keeps the order of bytes, whatever the delay is meanwhile. */
class Lane {
  readonly #to: Socket;
  readonly #rules: LinkRules;
  #waiting: (() => void)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #dueAt = 0;
  #isCleared = false;

  /** @param take - what is to be passed on of what comes */
  constructor(from: Socket, to: Socket, rules: LinkRules, take: (bytes: Buffer) => Buffer | undefined) {
    this.#to = to;
    this.#rules = rules;
    // What either side makes of a connection that fails is what a test looks at.
    from.on('error', () => undefined);
    from.on('data', (bytes: Buffer) => {
      const left = this.#isCleared ? undefined : take(bytes);
      if (left) {
        this.#pass(() => this.#write(from, left));
      }
    });
    from.on('end', () => this.#pass(() => to.end()));
    // Not destroyed: what was sent first arrives. Nobody reads its answer any more.
    from.on('close', () => this.#pass(() => to.end().resume()));
  }

  clear(): void {
    this.#isCleared = true;
    this.#waiting = [];
    this.#timers.forEach((timer) => clearTimeout(timer));
    this.#timers.clear();
  }

  #write(from: Socket, bytes: Buffer): void {
    if (this.#to.destroyed || this.#to.writableEnded || this.#to.write(bytes)) {
      return;
    }
    from.pause();
    this.#to.once('drain', () => from.resume());
  }

  #pass(what: () => void): void {
    if (this.#isCleared) {
      return;
    }
    const delayMs = this.#rules.delayMs();
    if (delayMs === 0 && this.#waiting.length === 0) {
      what();
      return;
    }
    this.#dueAt = Math.max(this.#dueAt, performance.now() + delayMs);
    this.#waiting.push(what);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#waiting.shift()?.();
    }, this.#dueAt - performance.now());
    this.#timers.add(timer);
  }
}
