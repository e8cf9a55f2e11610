import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { constants, gunzipSync } from 'node:zlib';
import type {
  Compression,
  ConnectionInit,
  ConnectionRegistry,
  EventStreamResponse,
} from '../../../lib/connection/index.js';
import { toPlatform } from '../../../lib/http/index.js';
import { CONNECTION_SETTINGS } from '../apps/stream-server.js';

/**
 * A response in the shape of HTTP/2 without a network. A test says when its client reads, so that the responses of two
 * clients are full and drain at the same moments, however many bytes each was sent.
 */
export class ScriptedResponse extends EventEmitter {
  readonly req: EventEmitter & { method: string; url: string; headers: IncomingHttpHeaders };
  readonly socket = null;
  readonly stream = {
    destroyed: false,
    writableFinished: false,
    writableNeedDrain: false,
    close: () => undefined,
  };
  statusCode = 200;
  headersSent = false;
  writableEnded = false;
  destroyed = false;
  headers: OutgoingHttpHeaders = {};
  /** Whether the client reads. */
  reads = true;
  readonly #received: Buffer[] = [];

  constructor(headers: IncomingHttpHeaders, url = '/') {
    super();
    this.req = Object.assign(new EventEmitter(), { method: 'GET', url, headers });
  }

  get writableLength(): number {
    return 0;
  }

  /** What was written, as bytes. */
  get bytes(): Buffer {
    return Buffer.concat(this.#received);
  }

  /** What a client decodes that has received all of it: it ends without a trailer. */
  get text(): string {
    return this.headers['content-encoding'] === 'gzip'
      ? gunzipSync(this.bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString()
      : this.bytes.toString();
  }

  getHeader(name: string) {
    return this.headers[name.toLowerCase()];
  }

  setHeader(name: string, value: string): void {
    this.headers[name.toLowerCase()] = value;
  }

  removeHeader(name: string): void {
    delete this.headers[name.toLowerCase()];
  }

  writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.statusCode = status;
    this.headersSent = true;
    Object.entries(headers).forEach(([name, value]) => this.setHeader(name, String(value)));
  }

  write(bytes: Buffer): boolean {
    this.#received.push(Buffer.from(bytes));
    this.stream.writableNeedDrain = !this.reads;
    return this.reads;
  }

  /** Lets the client read what it was sent. */
  drain(): void {
    this.reads = true;
    if (this.stream.writableNeedDrain) {
      this.stream.writableNeedDrain = false;
      this.emit('drain');
    }
  }

  end(): void {
    if (!this.writableEnded) {
      this.writableEnded = true;
      this.stream.writableFinished = true;
      setImmediate(() => this.emit('close'));
    }
  }

  destroy(): void {
    if (!this.destroyed) {
      this.destroyed = true;
      this.stream.destroyed = true;
      this.emit('close');
    }
  }
}

/** A client twice: one takes gzip, the other does not. Both are done the same to, and must read the same. */
export class Twins {
  readonly gzip: ScriptedResponse;
  readonly plain: ScriptedResponse;
  readonly connections: readonly EventStreamResponse[];

  constructor(
    registry: ConnectionRegistry,
    compression: Compression,
    { lastEventId, ...init }: Partial<ConnectionInit> & { lastEventId?: string | undefined } = {},
  ) {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    this.gzip = new ScriptedResponse({ ...headers, 'accept-encoding': 'gzip' });
    this.plain = new ScriptedResponse(headers);
    this.connections = this.responses.map((response) =>
      registry.admit({
        platform: toPlatform(response),
        settings: { ...CONNECTION_SETTINGS, compression },
        finite: false,
        ...init,
      }),
    );
  }

  get responses(): readonly ScriptedResponse[] {
    return [this.gzip, this.plain];
  }

  each(act: (connection: EventStreamResponse, response: ScriptedResponse) => void): void {
    this.connections.forEach((connection, n) => act(connection, this.responses[n]!));
  }

  /** The id of the last event that the client has. */
  get lastId(): string | undefined {
    return [...this.plain.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1];
  }
}

/** Lets what is due in the next turns of the event loop be done. */
export async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
