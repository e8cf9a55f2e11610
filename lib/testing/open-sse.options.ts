import type { Agent } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import type { Server } from 'node:net';

/** What is used of a Nest application, by shape: an `INestApplication` of any version and platform fits. */
export interface NestAppLike {
  getHttpServer(): unknown;
  listen(port: number, hostname: string): Promise<unknown>;
}

/** A Nest application; a server of `node:http`, `node:https` or `node:http2`; or the base URL of one that runs elsewhere. */
export type SseTarget = NestAppLike | Server | string;

export interface OpenSseOptions {
  /** @defaultValue `GET`; `POST` where there is a `body` */
  method?: string;
  /** Added to `Accept: text/event-stream` and `Cache-Control: no-cache`, which an EventSource sends, or instead of them. */
  headers?: Record<string, string>;
  /** Sent as JSON; a string, bytes and `URLSearchParams` as they are. */
  body?: unknown;
  /** Sent as `Last-Event-ID`, where it is not empty. */
  lastEventId?: string;
  /**
   * Speak HTTP/2: on `http:` with prior knowledge, on `https:` by ALPN.
   * @defaultValue true where the app or server is one of `node:http2`, and where there is an `http2Session`
   */
  http2?: boolean;
  /**
   * An HTTP/2 session of yours, for many streams on one connection, as browsers do. It stays open, and its errors are
   * yours to hear. Without it, each stream has a session of its own, which its `close()` closes.
   */
  http2Session?: ClientHttp2Session;
  /** An HTTP/1.1 agent of yours. Without it, each stream has a keep-alive connection of its own, which its `close()` closes. */
  agent?: Agent;
  /** Closes the stream when it fires, or gives up opening it. */
  signal?: AbortSignal;
  /**
   * The deadline of opening, and of each wait that has none of its own, in milliseconds.
   * @defaultValue 5_000
   */
  timeoutMs?: number;
  /**
   * Accept a certificate that nobody vouches for, such as a test's self-signed one.
   * @defaultValue false
   */
  allowUnauthorized?: boolean;
}
