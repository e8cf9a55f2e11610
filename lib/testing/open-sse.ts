import type { Agent } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import * as tls from 'node:tls';
import { abandonable, checkTimeout, DEFAULT_TIMEOUT_MS, rememberCaller, startDeadline } from './deadline.js';
import { SseTestError } from './sse-test.error.js';
import { SseTestStream } from './sse-test-stream.js';
import { send } from './transport.js';

/** What is used of a Nest application, by shape, so that every version's fits. */
export interface NestAppLike {
  getHttpServer(): unknown;
  listen(port: number, hostname: string): Promise<unknown>;
}

/** A Nest application, a server of `node:http`, `node:https` or `node:http2`, or the base URL of one that listens. */
export type SseTarget = NestAppLike | Server | string;

export interface OpenSseOptions {
  /** @defaultValue `GET`, with a `body` `POST` */
  method?: string;
  /** Added to, or instead of, `Accept: text/event-stream` and `Cache-Control: no-cache`, which an EventSource sends. */
  headers?: Record<string, string>;
  /** Sent as JSON; a string or bytes as they are. */
  body?: unknown;
  /** Sent as `Last-Event-ID`, where it is not empty. */
  lastEventId?: string;
  /**
   * Speak HTTP/2: in clear with prior knowledge, on `https:` by ALPN.
   * @defaultValue true where the target is a server or an app that listens by `node:http2`
   */
  http2?: boolean;
  /** An HTTP/2 session of yours to send the request on: as in browsers, many streams on one connection. Stays open. */
  http2Session?: ClientHttp2Session;
  /** An HTTP/1.1 agent of yours. Else each stream has a keep-alive connection of its own, which its `close()` closes. */
  agent?: Agent;
  /** Closes the stream when it fires, or gives up opening it. */
  signal?: AbortSignal;
  /**
   * The deadline of opening and of each wait, in milliseconds.
   * @defaultValue 5_000
   */
  timeoutMs?: number;
  /**
   * Accept a certificate that nobody vouches for, such as a test's self-signed one.
   * @defaultValue false
   */
  allowUnauthorized?: boolean;
}

/** As {@link OpenSseOptions}: what is given replaces what the first request had. */
export type ReconnectOptions = OpenSseOptions;

/**
 * Opens a stream, and resolves when the answer's headers are there, whatever its status.
 */
export function openSse(
  target: SseTarget,
  path: string,
  options: OpenSseOptions = {},
): Promise<SseTestStream<ReconnectOptions>> {
  const atCaller = rememberCaller(openSse);
  return abandonable(
    findAddress(target).then((address) =>
      open(
        urlOf(address.base, path),
        { ...options, http2: options.http2 ?? (options.http2Session !== undefined || address.http2) },
        atCaller,
      ),
    ),
  );
}

async function open(
  url: URL,
  options: OpenSseOptions,
  atCaller: (error: Error) => Error,
): Promise<SseTestStream<ReconnectOptions>> {
  const { signal, lastEventId = '' } = options;
  const timeoutMs = checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const body = encodeBody(options.body);
  const method = options.method?.toUpperCase() ?? (body === undefined ? 'GET' : 'POST');
  const request = `${method} ${url.href}`;
  const giveUp = new AbortController();
  const give = () => giveUp.abort();
  if (signal?.aborted)
    throw atCaller(new SseTestError('aborted', `${request}: the signal had fired before.`));
  signal?.addEventListener('abort', give, { once: true });
  let timedOut = false;
  const cancelDeadline = startDeadline(timeoutMs, () => {
    timedOut = true;
    giveUp.abort();
  });
  try {
    const answer = await send(
      {
        url,
        method,
        headers: headersOf(options, body, lastEventId),
        body: body?.bytes,
        agent: options.agent,
        session: options.http2Session,
        allowUnauthorized: options.allowUnauthorized ?? false,
      },
      options.http2 ?? false,
      giveUp.signal,
    );
    const stream: SseTestStream<ReconnectOptions> = new SseTestStream(answer, {
      request,
      lastEventId,
      timeoutMs,
      reopen: (id, changes) =>
        open(url, { ...options, lastEventId: id, ...changes }, rememberCaller(stream.reconnect)),
    });
    if (signal !== undefined) {
      const close = () => void stream.close();
      signal.addEventListener('abort', close, { once: true });
      void stream.ended.then(() => signal.removeEventListener('abort', close));
    }
    return stream;
  } catch (cause) {
    if (cause instanceof SseTestError) throw cause;
    if (timedOut) {
      throw atCaller(
        new SseTestError('timeout', `${request}: no headers of an answer within ${timeoutMs} ms.`, { cause }),
      );
    }
    if (signal?.aborted)
      throw atCaller(new SseTestError('aborted', `${request}: the signal fired before an answer.`));
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw atCaller(new SseTestError('unreachable', `${request}: no answer: ${reason}`, { cause }));
  } finally {
    cancelDeadline();
    signal?.removeEventListener('abort', give);
  }
}

interface EncodedBody {
  readonly bytes: Uint8Array;
  readonly type: string | undefined;
}

function encodeBody(body: unknown): EncodedBody | undefined {
  if (body === undefined) return undefined;
  if (typeof body === 'string') return { bytes: Buffer.from(body), type: 'text/plain; charset=utf-8' };
  if (body instanceof Uint8Array) return { bytes: body, type: undefined };
  return { bytes: Buffer.from(JSON.stringify(body)), type: 'application/json' };
}

function headersOf(
  options: OpenSseOptions,
  body: EncodedBody | undefined,
  lastEventId: string,
): Record<string, string> {
  const headers: Record<string, string> = { accept: 'text/event-stream', 'cache-control': 'no-cache' };
  if (body?.type !== undefined) headers['content-type'] = body.type;
  if (body !== undefined) headers['content-length'] = String(body.bytes.length);
  // The standard sends the id as UTF-8; Node takes a header's characters for bytes.
  if (lastEventId !== '') headers['last-event-id'] = Buffer.from(lastEventId, 'utf8').toString('latin1');
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value;
  return headers;
}

interface Address {
  readonly base: string;
  readonly http2: boolean;
}

async function findAddress(target: SseTarget): Promise<Address> {
  if (typeof target === 'string') return { base: target, http2: false };
  const server = 'getHttpServer' in target ? (target.getHttpServer() as Server) : target;
  if (!server.listening) await startListening(target, server);
  return { base: baseOf(server), http2: 'updateSettings' in server };
}

/** Two streams opened at once on an app that does not listen yet must share one `listen()`: a second one throws. */
const starting = new WeakMap<SseTarget & object, Promise<void>>();

function startListening(target: SseTarget & object, server: Server): Promise<void> {
  let started = starting.get(target);
  if (started === undefined) {
    started = listen(target, server).finally(() => starting.delete(target));
    starting.set(target, started);
  }
  return started;
}

async function listen(target: SseTarget & object, server: Server): Promise<void> {
  if ('getHttpServer' in target) {
    // Nest's own listen() calls init() where nobody has, and Fastify must be started by its own.
    await target.listen(0, '127.0.0.1');
    return;
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function baseOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  const everyAddress: Record<string, string> = { '::': '[::1]', '0.0.0.0': '127.0.0.1' };
  const host = everyAddress[address] ?? (family === 'IPv6' ? `[${address}]` : address);
  return `${server instanceof tls.Server ? 'https' : 'http'}://${host}:${port}`;
}

function urlOf(base: string, path: string): URL {
  return new URL(`${base.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`);
}
