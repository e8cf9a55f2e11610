import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openSse } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import type { ConnectionSettings } from '../../../lib/connection/index.js';
import type { Reporter } from '../../../lib/errors/index.js';
import { DEFAULT_PRESENCE } from '../../../lib/topics/index.js';
import type { TopicSettings } from '../../../lib/topics/index.js';

/** The default settings of a connection, without a heartbeat. */
export const CONNECTION_SETTINGS: ConnectionSettings = {
  heartbeatMs: false,
  retryMs: 3_000,
  maxConnectionMs: undefined,
  maxBufferedBytes: 1_048_576,
  maxBurstBytes: 16_777_216,
  maxEventBytes: 1_048_576,
  expiresAt: undefined,
  revocable: false,
  compression: false,
  hasKeys: false,
};

/** Settings of topics with a small ring. */
export const TOPIC_SETTINGS: TopicSettings = {
  resetEvent: 'reset',
  cursorEvent: 'cursor',
  maxEventBytes: 1_048_576,
  maxReplayEvents: 100_000,
  ringEvents: 1_000,
  ringBytes: Infinity,
  maxPatterns: 100,
  maxLagMs: 60_000,
  presence: DEFAULT_PRESENCE,
  authorize: undefined,
};

export const SILENT: Reporter = { warn: () => undefined, error: () => undefined, debug: () => undefined };

type RegistryOptions = ConstructorParameters<typeof ConnectionRegistry>[0];

/** A registry without Nest. It takes any number of connections, and drains within a second. */
export const createRegistry = (options: Partial<RegistryOptions> = {}): ConnectionRegistry =>
  new ConnectionRegistry({
    maxConnections: Infinity,
    drain: { delayMs: 0, timeoutMs: 1_000, spreadMs: 5_000 },
    reporter: SILENT,
    ...options,
  });

/** A server of Node on loopback, for plain classes that write to responses. */
export class StreamServer {
  readonly http: Server;

  private constructor(listener: RequestListener) {
    this.http = createServer(listener);
  }

  static async listen(listener: RequestListener): Promise<StreamServer> {
    const server = new StreamServer(listener);
    await new Promise<void>((resolve) => server.http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.http.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  open(options: Parameters<typeof openSse>[2] = {}): Promise<SseTestStream> {
    return openSse(this.url, '/', options);
  }

  async close(): Promise<void> {
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }
}
