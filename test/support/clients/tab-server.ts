import type { FakeTab } from './fake-browser.js';
import { ScriptedStream } from './scripted-fetch.js';

interface Connection {
  readonly tab: FakeTab;
  readonly stream: ScriptedStream;
  /** Up to which sequence the client has been sent what there is. */
  sent: number;
}

/** How the server tells a client that begins what it needs to know. */
export type Beginning = 'place' | 'snapshot' | 'nothing';

/**
 * A server of one log for the tabs of a fake browser. Each event of the log is numbered; those that clients follow hold
 * their count, so that a hole or a double shows.
 */
export class TabServer {
  /** How many events that clients follow there have been, also before a restart. */
  count = 0;
  requests: { readonly url: string; readonly lastEventId: string | null }[] = [];
  connections: Connection[] = [];
  /** Answers nothing but errors. */
  isAway = false;
  /** Refuses with it. */
  status: number | undefined;
  /** Sends half of a state, until it is told to go on. */
  holdsState = false;
  #epoch = 1;
  /** The counts by sequence; undefined for an event that these clients do not follow. */
  #log: (number | undefined)[] = [];
  #firstKept = 0;

  constructor(readonly beginning: Beginning = 'place') {}

  get position(): string {
    return this.#id(this.#log.length);
  }

  fetchOf(tab: FakeTab) {
    return (input: unknown, { headers, signal }: RequestInit = {}): Promise<Response> =>
      new Promise((resolve, reject) => {
        signal!.addEventListener('abort', () => reject(signal!.reason as Error));
        tab.whenAwake(() => {
          if (!signal!.aborted) {
            resolve(this.#answer(tab, String(input), new Headers(headers), signal!));
          }
        });
      });
  }

  publish(): void {
    this.count += 1;
    this.#append(this.count);
  }

  /** An event of other topics: the log goes on, and these clients get nothing. */
  publishElsewhere(): void {
    this.#append(undefined);
  }

  /** What there is can no longer be replayed. */
  trim(): void {
    this.#firstKept = this.#log.length;
  }

  /** Is another process from now on, with an empty log. */
  restart(): void {
    this.cut();
    this.#epoch += 1;
    this.#log = [];
    this.#firstKept = 0;
  }

  cut(): void {
    this.connections.splice(0).forEach((connection) => {
      connection.tab.whenAwake(() => connection.stream.fail(new TypeError('cut')));
    });
  }

  /** The process of a tab is gone, and its connections with it. */
  forget(tab: FakeTab): void {
    this.connections = this.connections.filter((connection) => connection.tab !== tab);
  }

  send(text: string): void {
    this.connections.forEach((connection) => this.#write(connection, text));
  }

  #append(count: number | undefined): void {
    this.#log.push(count);
    this.connections.forEach((connection) => this.#deliver(connection));
  }

  #answer(tab: FakeTab, url: string, headers: Headers, signal: AbortSignal): Response {
    const lastEventId = headers.get('last-event-id');
    this.requests.push({ url, lastEventId });
    if (this.isAway || this.status) {
      return new Response('', { status: this.status ?? 503 });
    }
    const stream = new ScriptedStream();
    const connection: Connection = { tab, stream, sent: this.#log.length };
    this.connections.push(connection);
    signal.addEventListener('abort', () => {
      this.connections = this.connections.filter((other) => other !== connection);
    });
    this.#write(connection, 'retry: 0\n');
    this.#begin(connection, lastEventId, new URL(url).searchParams.has('addedTopics'));
    return stream.response;
  }

  sendHeldState(): void {
    this.connections.forEach((connection) => this.#sendWhole(connection));
  }

  #sendWhole(connection: Connection): void {
    this.#write(connection, `event: whole\ndata: ${this.count}\nid: ${this.position}\n\n`);
  }

  #begin(connection: Connection, lastEventId: string | null, hasAdded: boolean): void {
    const [epoch, sequence] = lastEventId?.split('-') ?? [];
    const isKept = epoch === `e${this.#epoch}` && Number(sequence) >= this.#firstKept;
    if (lastEventId !== null && isKept) {
      if (hasAdded) {
        this.#write(connection, 'event: cursor\ndata: {"snapshots":1,"added":true}\n\n');
        this.#write(connection, `event: added\ndata: ${this.count}\n\n`);
      }
      connection.sent = Number(sequence);
      this.#deliver(connection);
    } else if (this.beginning === 'snapshot') {
      this.#write(connection, 'event: cursor\ndata: {"snapshots":2}\n\n');
      this.#write(connection, 'event: half\ndata: 0\n\n');
      if (!this.holdsState) {
        this.#sendWhole(connection);
      }
    } else if (lastEventId !== null) {
      this.#write(connection, `event: reset\ndata: {"reason":"epoch"}\nid: ${this.position}\n\n`);
    } else if (this.beginning === 'place') {
      this.#write(connection, `event: cursor\ndata: {"snapshots":0}\nid: ${this.position}\n\n`);
    }
  }

  #deliver(connection: Connection): void {
    while (connection.sent < this.#log.length) {
      connection.sent += 1;
      const count = this.#log[connection.sent - 1];
      if (count !== undefined) {
        this.#write(connection, `data: ${count}\nid: ${this.#id(connection.sent)}\n\n`);
      }
    }
  }

  #write({ tab, stream }: Connection, text: string): void {
    tab.whenAwake(() => stream.isCanceled || stream.write(text));
  }

  #id(sequence: number): string {
    return `e${this.#epoch}-${sequence}-00000000`;
  }
}
