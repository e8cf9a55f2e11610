import { abandonable, checkTimeout, DEFAULT_TIMEOUT_MS, rememberCaller, startDeadline } from './deadline.js';
import type { OpenSseOptions, SseTarget } from './open-sse.options.js';
import { findAddress, joinUrl, type SseAddress } from './sse-target.js';
import { SseTestError } from './sse-test.error.js';
import { SseTestStream } from './sse-test.stream.js';
import { send, type TransportRequest } from './transport.js';

/**
 * Opens a stream as the EventSource of a browser would. Resolves when the headers of the response have arrived,
 * whatever its status and content type. Redirects are not followed.
 *
 * An app or server that does not listen yet is started on a free port of 127.0.0.1, as supertest does. A Nest app is
 * initialised first, if it was not. Close every stream before the app, also a stream that has ended: its idle
 * connection stays open, as in a browser, and an app on HTTP/2 waits for it.
 *
 * Deadlines run in real time, also under the fake timers of a test runner. A wait that a failing test abandons has no
 * consequences.
 *
 * For a response that ends, supertest works as well. On a stream that stays open,
 * `request(app.getHttpServer()).get('/sse').expect(200)` hangs, because it waits for the end.
 *
 * @param target - a Nest application, a server, or a base URL
 * @param path - path and query, appended to the base URL
 * @throws SseTestError `unreachable`, `timeout`, `aborted`, `argument-invalid`
 *
 * @example
 * const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
 * const app = module.createNestApplication();
 *
 * const stream = await openSse(app, '/orders/42/events');
 * expect(stream.status).toBe(200);
 *
 * const event = await stream.next();
 * expect(event).toMatchObject({ type: 'status', id: '7' });
 * expect(event.json()).toEqual({ status: 'paid' });
 *
 * await stream.until(({ comments }) => comments.includes('')); // a heartbeat
 *
 * const again = await stream.reconnect(); // with Last-Event-ID: 7
 * await again.take(2);
 * await again.close();
 *
 * await app.close();
 */
export function openSse(
  target: SseTarget,
  path: string,
  options: OpenSseOptions = {},
): Promise<SseTestStream> {
  return abandonable(open(() => findAddress(target), path, options, rememberCaller()));
}

type GiveUpReason = 'timeout' | 'aborted';

async function open(
  locate: () => Promise<SseAddress>,
  path: string,
  options: OpenSseOptions,
  atCaller: (error: Error) => Error,
): Promise<SseTestStream> {
  const { signal } = options;
  const timeoutMs = checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const giveUp = new AbortController();
  const giveUpFor = (reason: GiveUpReason) => giveUp.abort(reason);
  const cancelDeadline = startDeadline(timeoutMs, () => giveUpFor('timeout'));
  const onSignal = () => giveUpFor('aborted');
  signal?.addEventListener('abort', onSignal, { once: true });
  if (signal?.aborted) {
    onSignal();
  }
  let attempt = 'Starting the server';
  try {
    const address = await unlessAborted(locate(), giveUp.signal);
    const request = requestOf(joinUrl(address.base, path), options);
    attempt = `${request.method} ${request.url.href}`;
    const overHttp2 = options.http2 ?? (options.http2Session !== undefined || address.http2);
    return await send(request, overHttp2, giveUp.signal, (answer) => {
      const stream = new SseTestStream(answer, {
        request: attempt,
        lastEventId: options.lastEventId ?? '',
        timeoutMs,
        reopen: (lastEventId, changes, atReconnect) =>
          open(
            () => Promise.resolve(address),
            path,
            { ...options, ...changes, lastEventId: changes.lastEventId ?? lastEventId },
            atReconnect,
          ),
      });
      if (signal !== undefined) {
        closeWhenFired(stream, signal);
      }
      return stream;
    });
  } catch (cause) {
    throw atCaller(openingError(attempt, giveUp.signal.reason as GiveUpReason | undefined, timeoutMs, cause));
  } finally {
    cancelDeadline();
    signal?.removeEventListener('abort', onSignal);
  }
}

function openingError(
  attempt: string,
  gaveUp: GiveUpReason | undefined,
  timeoutMs: number,
  cause: unknown,
): SseTestError {
  if (gaveUp === 'timeout') {
    return new SseTestError('timeout', `${attempt} did not succeed within ${timeoutMs} ms.`);
  }
  if (gaveUp === 'aborted') {
    return new SseTestError('aborted', `${attempt} was given up: the signal fired.`);
  }
  if (cause instanceof SseTestError) {
    return cause;
  }
  return new SseTestError('unreachable', `${attempt} failed: ${messageOf(cause)}`, { cause });
}

/** Reads the message of an error. Not by `instanceof`: under Jest, errors of Node have the Error of another realm. */
function messageOf(cause: unknown): string {
  const message =
    typeof cause === 'object' && cause !== null && 'message' in cause ? cause.message : undefined;
  return typeof message === 'string' && message !== '' ? message : String(cause);
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new Error('given up'));
    if (signal.aborted) {
      onAbort();
    }
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function closeWhenFired(stream: SseTestStream, signal: AbortSignal): void {
  const close = () => void stream.close();
  signal.addEventListener('abort', close, { once: true });
  void stream.ended.then(() => signal.removeEventListener('abort', close));
}

function requestOf(url: URL, options: OpenSseOptions): TransportRequest {
  const body = encodeBody(options.body);
  const headers: Record<string, string> = { accept: 'text/event-stream', 'cache-control': 'no-cache' };
  if (body !== undefined) {
    headers['content-length'] = String(body.bytes.length);
  }
  if (body?.type !== undefined) {
    headers['content-type'] = body.type;
  }
  // The standard sends the id as UTF-8, and Node takes the characters of a header for bytes.
  if (options.lastEventId) {
    headers['last-event-id'] = Buffer.from(options.lastEventId).toString('latin1');
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name.toLowerCase()] = value;
  }
  return {
    url,
    method: options.method?.toUpperCase() ?? (body === undefined ? 'GET' : 'POST'),
    headers,
    body: body?.bytes,
    agent: options.agent,
    session: options.http2Session,
    allowUnauthorized: options.allowUnauthorized ?? false,
  };
}

function encodeBody(body: unknown): { bytes: Uint8Array; type?: string } | undefined {
  if (body === undefined) {
    return undefined;
  }
  if (body instanceof Uint8Array) {
    return { bytes: body };
  }
  if (typeof body === 'string') {
    return { bytes: Buffer.from(body), type: 'text/plain; charset=utf-8' };
  }
  if (body instanceof URLSearchParams) {
    return { bytes: Buffer.from(body.toString()), type: 'application/x-www-form-urlencoded' };
  }
  try {
    return { bytes: Buffer.from(JSON.stringify(body)), type: 'application/json' };
  } catch (cause) {
    throw new SseTestError('argument-invalid', `The body cannot be sent as JSON: ${String(cause)}`, {
      cause,
    });
  }
}
