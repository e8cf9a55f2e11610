import { invalidOption } from './client.error.js';

type Headers = NonNullable<RequestInit['headers']>;

/** Headers, or a function that is asked for them at each attempt. */
export type HeadersSource = Headers | (() => Headers | Promise<Headers>);

/** Options of {@link SseClient}. */
export interface SseClientOptions {
  /** What relative URLs are relative to. @defaultValue the page's own URL; needed outside of a browser */
  baseUrl?: string;
  /**
   * Headers of every request, or a function that is asked for them at each attempt, and once more after a 401: refresh
   * the token there.
   */
  headers?: HeadersSource;
  /** As in `fetch`. @defaultValue `'same-origin'` */
  credentials?: RequestInit['credentials'];
  /** Another `fetch`, such as one of React Native that streams. @defaultValue the global one */
  fetch?: typeof fetch;
  /**
   * After how many milliseconds without a byte a connection is taken for dead, 1 or more, or false for never.
   * @defaultValue three times the heartbeat that the server announces; never if it announces none
   */
  silenceMs?: number | false;
  /**
   * How long to wait before a failed request is tried again: a random time of up to `minMs`, doubled with each failure
   * up to `maxMs`, beyond the server's `retry`.
   * @defaultValue `{ minMs: 1_000, maxMs: 30_000 }`
   */
  retry?: { minMs?: number; maxMs?: number };
  /**
   * Whose page this is, such as the user's id; undefined for a visitor who has not signed in. What was kept for one
   * identity is never given to another.
   */
  identity?: string;
  /**
   * Shares connections among tabs: of all tabs of the origin with the same name, `identity` and URL one holds the
   * connection, and hands events on. Without a secure context, Web Locks or BroadcastChannel each tab connects for
   * itself: see {@link SseClient.sharing}.
   * @defaultValue none: each feed connects for itself
   */
  shareTabs?: string | ShareTabsOptions;
  /** What the server's `resetEvent` is called. @defaultValue `'reset'` */
  resetEvent?: string;
  /** What the server's `cursorEvent` is called. @defaultValue `'cursor'` */
  cursorEvent?: string;
}

/** Options of `shareTabs`. */
export interface ShareTabsOptions {
  /** What the tabs call what they share, 1 character or more. */
  name: string;
  /**
   * How many events the tab with the connection keeps for tabs that join late, 0 or more. A tab that lacks more than
   * that opens a connection of its own until it has caught up.
   * @defaultValue 1_000
   */
  replayEvents?: number;
  /**
   * How many characters of data these events may have in all, 0 or more.
   * @defaultValue 4_194_304
   */
  replayCharacters?: number;
}

/** Options of a client, all given. */
export interface ClientSettings {
  readonly baseUrl: string | undefined;
  readonly headers: HeadersSource | undefined;
  readonly credentials: NonNullable<RequestInit['credentials']>;
  readonly fetch: typeof fetch;
  readonly silenceMs: number | false | undefined;
  readonly minMs: number;
  readonly maxMs: number;
  readonly identity: string | undefined;
  readonly resetEvent: string;
  readonly cursorEvent: string;
}

// What is longer, a timer takes for 1 ms.
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** @throws SseClientError `options-invalid` */
export function clientSettings(options: SseClientOptions): ClientSettings {
  const { headers, silenceMs, retry: { minMs = 1_000, maxMs = 30_000 } = {} } = options;
  const times: [string, number, number][] = [
    ['retry.minMs', minMs, 0],
    ['retry.maxMs', maxMs, 0],
    ['silenceMs', silenceMs === false ? 1 : (silenceMs ?? 1), 1],
  ];
  for (const [name, ms, least] of times) {
    // A NaN in a timer would fire at once, again and again.
    if (!(ms >= least && ms <= MAX_TIMER_MS)) {
      throw invalidOption(`${name} must be milliseconds from ${least} to ${MAX_TIMER_MS}, got ${ms}.`);
    }
  }
  checkShareTabs(options.shareTabs);
  return {
    baseUrl: options.baseUrl ?? (globalThis as { location?: { href: string } }).location?.href,
    headers,
    credentials: options.credentials ?? 'same-origin',
    // Called as a method of anything else, a browser's own throws.
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    silenceMs,
    minMs,
    maxMs,
    identity: options.identity,
    resetEvent: options.resetEvent ?? 'reset',
    cursorEvent: options.cursorEvent ?? 'cursor',
  };
}

function checkShareTabs(shareTabs: SseClientOptions['shareTabs']): void {
  if (shareTabs === undefined) {
    return;
  }
  const given: Partial<ShareTabsOptions> | null =
    typeof shareTabs === 'string' ? { name: shareTabs } : shareTabs;
  const { name, replayEvents = 0, replayCharacters = 0 } = given ?? {};
  if (!name) {
    throw invalidOption('shareTabs must be a name, or { name }, and the name not empty.');
  }
  for (const [limit, count] of Object.entries({ replayEvents, replayCharacters })) {
    // Beside a NaN no length is too long.
    if (!(Number.isInteger(count) && count >= 0)) {
      throw invalidOption(`shareTabs.${limit} must be a whole number, 0 or more, got ${count}.`);
    }
  }
}

/** @throws SseClientError `options-invalid` for a relative URL without a base */
export function resolveUrl(url: string, { baseUrl }: ClientSettings): URL {
  try {
    return new URL(url, baseUrl);
  } catch (cause) {
    throw invalidOption(`"${url}" is no URL. Outside of a page give baseUrl.`, cause);
  }
}

/** A random time of up to `minMs`, doubled with each failure up to `maxMs`. */
export function backoffMs({ minMs, maxMs }: ClientSettings, failures: number): number {
  return Math.random() * Math.min(maxMs, minMs * 2 ** failures);
}

/** Calls code of the app: what it throws is reported as an error of the page, and harms nothing here. */
export function callApp(callback: () => unknown): void {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
