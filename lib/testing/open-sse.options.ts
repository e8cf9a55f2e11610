import type { Agent } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import type { Server } from 'node:net';

export interface OpenSseOptions {
  /** @defaultValue `GET`; `POST` if there is a `body` */
  method?: string;
  /**
   * Headers of the request. They are added to `Accept: text/event-stream` and `Cache-Control: no-cache`, which an
   * EventSource sends, and replace them if they have the same name. With `'accept-encoding': 'gzip'`, as browsers send
   * it, an answer that is compressed is decoded.
   */
  headers?: Record<string, string>;
  /** Body of the request. A string, bytes and `URLSearchParams` are sent as they are, anything else as JSON. */
  body?: unknown;
  /** Sent as `Last-Event-ID`, unless it is empty. */
  lastEventId?: string;
  /**
   * Whether to speak HTTP/2: on `http:` with prior knowledge, on `https:` by ALPN.
   * @defaultValue true if the app or server is one of `node:http2`, or if there is an `http2Session`
   */
  http2?: boolean;
  /**
   * Your own HTTP/2 session, for many streams on one connection, as browsers do. `close()` leaves it open, and its
   * `error` events are yours to handle. Without this option each stream has a session of its own, which its `close()`
   * closes.
   */
  http2Session?: ClientHttp2Session;
  /**
   * Your own HTTP/1.1 agent. Without it each stream has a keep-alive connection of its own, which its `close()` closes.
   */
  agent?: Agent;
  /** When it aborts, the stream is closed, or the attempt to open it is given up. */
  signal?: AbortSignal;
  /**
   * Deadline of opening, in milliseconds, and of each wait without a deadline of its own. Above 0, to 2_147_483_647.
   * @defaultValue 5_000
   */
  timeoutMs?: number;
  /**
   * Whether to accept a certificate that no authority has signed, such as the self-signed one of a test.
   * @defaultValue false
   */
  allowUnauthorized?: boolean;
}

/** A Nest application, by shape: an `INestApplication` of any version and platform fits. */
export interface NestAppLike {
  getHttpServer(): unknown;
  listen(port: number, hostname: string): Promise<unknown>;
}

/**
 * A Nest application; a server of `node:http`, `node:https` or `node:http2`; or the base URL of a server that runs
 * elsewhere.
 */
export type SseTarget = NestAppLike | Server | string;
