import { ANNOUNCING_TYPE, RUN_FAILED_HEADER } from '../wire/announcements.js';
import { askApp, unlessAborted } from './ask-app.js';
import { failure, SseClientError } from './client.error.js';
import { ChunkDecoder } from './text.decoder.js';
import type { ClientSettings, HeadersSource } from './settings.js';

/** One request for a stream. */
export interface StreamRequest {
  readonly url: URL;
  readonly method?: string;
  readonly headers?: HeadersSource;
  /** Sent as JSON if it is no text. */
  readonly body?: unknown;
  /** The last id that has come: the stream goes on after it. */
  readonly lastEventId?: string;
}

const MIGHT_MEND = [401, 408, 425, 429];
const BODY_CHARACTERS = 200;
const BODY_WAIT_MS = 2_000;

/**
 * Sends a request, and tells a stream from whatever else comes. Settles as `signal` aborts, whatever the app's `headers`
 * and `fetch` do.
 *
 * @returns the stream; undefined for 204
 * @throws SseClientError for all else: see {@link mightMend}
 */
export async function request(
  settings: ClientSettings,
  wanted: StreamRequest,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array> | undefined> {
  const body = bodyOf(wanted);
  let headers: Headers;
  try {
    const sources = [settings.headers, wanted.headers];
    headers = headersOf(wanted, await askApp(() => Promise.all(sources.map(askHeaders)), signal));
  } catch (cause) {
    throw failure('headers-failed', 'headers() failed', cause);
  }
  const url = urlOf(wanted);
  const { method = 'GET' } = wanted;
  const { credentials } = settings;
  let response: Response;
  try {
    const init: RequestInit & { cache: 'no-store' } = {
      method,
      headers,
      body,
      credentials,
      cache: 'no-store',
      signal,
    };
    const answer = settings.fetch(url, init);
    response = await unlessAborted(dropIfLate(answer, signal), signal);
  } catch (cause) {
    // The browser does not tell the one from the other.
    const orCors = isOfAnotherOrigin(wanted.url) ? ', or no CORS header that allows this page' : '';
    throw failure('network', `${url} gave no answer${orCors}`, cause, { url });
  }
  return streamOf(response, url);
}

/** Whether the same request may succeed later. */
export function mightMend({ code, status = 500 }: SseClientError): boolean {
  return code === 'status'
    ? status >= 500 || MIGHT_MEND.includes(status)
    : !['no-body', 'too-large', 'options-invalid', 'run-failed'].includes(code);
}

/** What broke off a request or its answer, for the app. */
export function toClientError(error: unknown): SseClientError {
  return error instanceof SseClientError ? error : failure('network', 'The connection broke off', error);
}

/** Drops what a `fetch` that does not heed its signal brings after that has aborted. */
async function dropIfLate(answer: Promise<Response>, signal: AbortSignal): Promise<Response> {
  const response = await answer;
  if (signal.aborted) {
    drop(response.body);
  }
  return response;
}

async function askHeaders(source: HeadersSource | undefined) {
  return typeof source === 'function' ? source() : source;
}

function headersOf(wanted: StreamRequest, [common, own]: RequestInit['headers'][]): Headers {
  const headers = new Headers(common);
  new Headers(own).forEach((value, name) => headers.set(name, value));
  if (!headers.has('accept')) {
    headers.set('accept', `text/event-stream, ${ANNOUNCING_TYPE}`);
  }
  if (wanted.body !== undefined && typeof wanted.body !== 'string' && !headers.has('content-type')) {
    headers.set('content-type', 'application/json');
  }
  if (wanted.lastEventId && !isOfAnotherOrigin(wanted.url)) {
    headers.set('last-event-id', wanted.lastEventId);
  }
  return headers;
}

function bodyOf({ body }: StreamRequest): string | undefined {
  try {
    return body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  } catch (cause) {
    throw failure('options-invalid', 'The body cannot be sent as JSON', cause);
  }
}

/** Across origins the place goes with the URL: as a header it would cost a preflight for each attempt. */
function urlOf({ url, lastEventId }: StreamRequest): string {
  if (!lastEventId || !isOfAnotherOrigin(url)) {
    return url.href;
  }
  const placed = new URL(url);
  placed.searchParams.set('lastEventId', lastEventId);
  return placed.href;
}

function isOfAnotherOrigin({ origin }: URL): boolean {
  const { location } = globalThis as { location?: { origin: string } };
  return location !== undefined && location.origin !== origin;
}

async function streamOf(response: Response, url: string): Promise<ReadableStream<Uint8Array> | undefined> {
  const { status, ok, headers } = response;
  if (status === 204) {
    return undefined;
  }
  const type = headers.get('content-type') ?? '';
  const isStream = /^text\/event-stream\s*(;|$)/i.test(type);
  if (ok && isStream && response.body) {
    return response.body;
  }
  const body = await beginningOf(response);
  const what = `${url} answered ${status} ("${type}"): ${body}`;
  const retryAfterMs = readRetryAfter(headers.get('retry-after'));
  if (!ok) {
    const code = headers.has(RUN_FAILED_HEADER) ? 'run-failed' : 'status';
    throw new SseClientError(code, what, { status, url, body, retryAfterMs });
  }
  throw isStream
    ? new SseClientError('no-body', `fetch gave no body to read for ${url}.`, { url })
    : new SseClientError('content-type', `This is no event stream: ${what}`, { status, url, body });
}

/** The first characters of a body, which may be long, or never end. */
async function beginningOf({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const timer = setTimeout(() => drop(reader), BODY_WAIT_MS);
  const decoder = new ChunkDecoder();
  let text = '';
  try {
    while (text.length < BODY_CHARACTERS) {
      const read = await reader?.read();
      if (!read?.value) {
        break;
      }
      text += decoder.decode(read.value);
    }
  } catch {
    // The status says enough.
  }
  clearTimeout(timer);
  drop(reader);
  return text.slice(0, BODY_CHARACTERS);
}

/** Cancels a body, or its reader, that is not read any further. */
export function drop(body: { cancel(): Promise<void> } | null | undefined): void {
  // It rejects if the body has failed before: a read has thrown that error already, or none was wanted.
  body?.cancel().catch(() => undefined);
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function readRetryAfter(value: string | null): number | undefined {
  if (!value) {
    return undefined;
  }
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return ms > 0 ? ms : undefined;
}
