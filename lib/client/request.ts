import { ANNOUNCING_TYPE } from '../wire/announcements.js';
import { askApp, unlessAborted } from './ask-app.js';
import { SseClientError } from './client.error.js';
import type { ClientSettings } from './settings.js';

/** One request for a stream. */
export interface StreamRequest {
  readonly url: URL;
  readonly method?: string;
  readonly headers?: NonNullable<RequestInit['headers']>;
  /** Sent as JSON if it is no text. */
  readonly body?: unknown;
  /** The last id that has come: the stream goes on after it. */
  readonly lastEventId?: string;
}

/** How an answer is no stream: whether it is worth another try, and when. */
export interface Refusal {
  readonly error: SseClientError;
  readonly kind: 'again' | 'unauthorized' | 'final';
  /** What the answer's `Retry-After` says. */
  readonly retryAfterMs?: number;
}

/** What a request has brought: a stream, 204, or why it is none of both. */
export type Answer = { readonly body: ReadableStream<Uint8Array> } | { readonly isEmpty: true } | Refusal;

const MIGHT_MEND = [408, 425, 429];
const BODY_CHARACTERS = 200;
const BODY_WAIT_MS = 2_000;

/**
 * Sends a request, and tells a stream from whatever else comes. Rejects as `signal` aborts, whatever the app's
 * `headers` and `fetch` do.
 *
 * @throws SseClientError `options-invalid` for a body that is no JSON
 */
export async function request(
  settings: ClientSettings,
  wanted: StreamRequest,
  signal: AbortSignal,
): Promise<Answer> {
  const body = bodyOf(wanted);
  let headers: Headers;
  try {
    headers = headersOf(wanted, await askApp(() => settings.headers(), signal));
  } catch (cause) {
    signal.throwIfAborted();
    return again(new SseClientError('headers-failed', `headers() failed: ${String(cause)}`, { cause }));
  }
  const url = urlOf(wanted);
  let response: Response;
  try {
    const { credentials } = settings;
    const init: RequestInit & { cache: 'no-store' } = {
      method: wanted.method ?? 'GET',
      headers,
      body,
      ...(credentials && { credentials }),
      cache: 'no-store',
      signal,
    };
    response = await unlessAborted(dropIfLate(settings.fetch(url, init), signal), signal);
  } catch (cause) {
    signal.throwIfAborted();
    // A missing CORS header causes the same error: the browser gives no details.
    return again(new SseClientError('network', `${url} gave no answer: ${String(cause)}`, { cause, url }));
  }
  return judge(response, url);
}

/** Drops what a `fetch` that does not heed its signal brings after that has aborted. */
async function dropIfLate(answer: Promise<Response>, signal: AbortSignal): Promise<Response> {
  const response = await answer;
  if (signal.aborted) {
    drop(response.body);
  }
  return response;
}

function headersOf(wanted: StreamRequest, own: RequestInit['headers']): Headers {
  const headers = new Headers(own);
  new Headers(wanted.headers).forEach((value, name) => headers.set(name, value));
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
    throw new SseClientError('options-invalid', `The body cannot be sent as JSON: ${String(cause)}`, {
      cause,
    });
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

async function judge(response: Response, url: string): Promise<Answer> {
  const { status, ok, headers } = response;
  if (status === 204) {
    return { isEmpty: true };
  }
  const type = headers.get('content-type') ?? '';
  if (ok && /^text\/event-stream\s*(;|$)/i.test(type)) {
    return response.body
      ? { body: response.body }
      : final(new SseClientError('no-body', `fetch gave no body to read for ${url}.`, { url }));
  }
  const body = await beginningOf(response);
  if (ok) {
    const what = `${url} answered ${status} with "${type}", which is no event stream: ${body}`;
    return again(new SseClientError('content-type', what, { status, url, body }));
  }
  const error = new SseClientError('status', `${url} answered ${status}: ${body}`, { status, url, body });
  if (status === 401) {
    return { error, kind: 'unauthorized' };
  }
  return status >= 500 || MIGHT_MEND.includes(status)
    ? { ...again(error), retryAfterMs: readRetryAfter(headers.get('retry-after')) }
    : final(error);
}

const again = (error: SseClientError): Refusal => ({ error, kind: 'again' });
const final = (error: SseClientError): Refusal => ({ error, kind: 'final' });

/** The first characters of a body, which may be long, or never end. */
async function beginningOf({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const stop = (): void => drop(reader);
  const timer = setTimeout(stop, BODY_WAIT_MS);
  // The status says enough if it breaks off.
  const read = await reader?.read().catch(() => undefined);
  clearTimeout(timer);
  stop();
  return new TextDecoder().decode(read?.value).slice(0, BODY_CHARACTERS);
}

/** Lets a body go. It rejects if the body has failed already, which its reader has been told. */
export function drop(body: { cancel(): Promise<void> } | null | undefined): void {
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
