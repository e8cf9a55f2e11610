import { SseError } from '../sse.errors.js';
import { wrongContent, wrongKind } from './refusal.js';
import { show } from './show.js';

/**
 * Writes data as JSON on one line. U+0085, U+2028 and U+2029 are escaped: clients that split lines as Unicode does, such
 * as Python's `splitlines`, would break the line there.
 *
 * @throws SseError `event-invalid`, of the kind: for what JSON would turn into something else without a word
 * (bytes, promises, streams, also within the data), and for functions and symbols. Of the content: for a circle, a
 * BigInt, and what a `toJSON` or a getter throws.
 */
export function toJson(data: unknown): string {
  try {
    refuseForeign(data);
    const json = JSON.stringify(data) as string | undefined;
    if (json === undefined) throw wrongContent('data', `"data" has no JSON: got ${show(data)}.`);
    if (mayHideForeign(json)) refuseForeignWithin(data);
    return escapeLineSeparators(json);
  } catch (cause) {
    if (cause instanceof SseError) throw cause;
    // V8 draws the circle on further lines.
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : cause;
    throw wrongContent('data', `"data" cannot be written as JSON: ${show(reason)}.`, cause);
  }
}

/** Escapes in JSON what ends a line for some clients, and for no client that follows the standard. */
export function escapeLineSeparators(json: string): string {
  // A search for one character is several times as fast as a regular expression, and nearly no text has one.
  if (!json.includes('\u0085') && !json.includes('\u2028') && !json.includes('\u2029')) return json;
  return json.replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Refuses a value that is no data: bytes, a promise, a stream, a function.
 *
 * @throws SseError `event-invalid`, which names the ways out
 */
export function refuseForeign(value: unknown, name = '"data"'): void {
  const foreign = foreignOf(value);
  if (foreign) throw wrongKind('data', `${name} is ${foreign.is}. ${foreign.instead}`);
}

/**
 * Takes note of the rejection of a promise that was given in the place of an event, and that nobody will await: it would
 * end the process.
 */
export function disarmPromises(value: unknown): void {
  disarm(value);
  try {
    disarm((value as { data?: unknown } | null | undefined)?.data);
  } catch {
    // A getter of the app's that throws: there is no promise to be had.
  }
}

interface Foreign {
  /** What it is, for "… is …". */
  readonly is: string;
  /** What to do about it. */
  readonly instead: string;
}

const PROMISE: Foreign = {
  is: 'a promise, or something with then()',
  instead:
    'Await it before you send it. In a pipeline of RxJS write concatMap(async …) or mergeMap(async …) in the place of ' +
    'map(async …).',
};

const STREAM: Foreign = {
  is: 'a stream, an Observable or an iterator',
  instead:
    'Send its items one by one: return it from the @Sse() handler, give it to stream(), or flatten it with ' +
    'concatMap() or mergeMap().',
};

const bytes = (name: string): Foreign => ({
  is: `bytes (${name})`,
  instead:
    'An event is text. Decode text with TextDecoderStream; parse a body that is an event stream already with ' +
    '`eventsource-parser`, and send its events; send anything else as Buffer.from(bytes).toString("base64").',
});

const callable = (type: 'function' | 'symbol'): Foreign => ({
  is: `a ${type}`,
  instead: type === 'function' ? 'Did you forget to call it?' : 'Send its description, or another text.',
});

function foreignOf(value: unknown): Foreign | undefined {
  if (typeof value === 'function' || typeof value === 'symbol') return callable(typeof value as 'function');
  return typeof value === 'object' && value !== null ? foreignObject(value) : undefined;
}

type Shape = Record<'then' | 'toJSON' | 'getReader' | 'arrayBuffer' | 'subscribe' | 'pipe', unknown> & {
  [Symbol.asyncIterator]: unknown;
};

// By shape and tag, not by class: what comes from another realm, or another copy of a library, is the same.
function foreignObject(value: object): Foreign | undefined {
  if (Array.isArray(value)) return undefined;
  if (ArrayBuffer.isView(value) || isBuffer(value)) return bytes(tagOf(value));
  const shape = value as Shape;
  if (typeof shape.then === 'function') {
    disarm(value);
    return PROMISE;
  }
  // It says itself what of it is data.
  if (typeof shape.toJSON === 'function') return undefined;
  // A Blob, a File, a Response.
  if (typeof shape.arrayBuffer === 'function') return bytes(tagOf(value));
  const isStream =
    typeof shape[Symbol.asyncIterator] === 'function' ||
    typeof shape.getReader === 'function' ||
    (typeof shape.subscribe === 'function' && typeof shape.pipe === 'function');
  return isStream ? STREAM : undefined;
}

function isBuffer(value: object): boolean {
  const tag = (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return tag === 'ArrayBuffer' || tag === 'SharedArrayBuffer';
}

function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

function disarm(value: unknown): void {
  // Of native promises alone: to call the then() of a query, such as Knex's or Mongoose's, begins it.
  if (typeof value === 'object' && value !== null && tagOf(value) === 'Promise') {
    void Promise.prototype.then.call(value, undefined, () => undefined);
  }
}

// What JSON makes of promises, of streams and of bytes. Texts cannot look so: JSON escapes the quotes within them.
function mayHideForeign(json: string): boolean {
  return json.includes('{}') || json.includes('{"0":') || json.includes('{"type":"Buffer"');
}

/** Looks at every value of which JSON was made. All of it, for several promises may reject. */
function refuseForeignWithin(data: unknown): void {
  let found: { foreign: Foreign; path: string } | undefined;
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return;
    const foreign = foreignObject(value);
    if (foreign) {
      found ??= { foreign, path };
    } else if (typeof (value as Partial<Shape>).toJSON !== 'function') {
      // No circle: JSON would have met it.
      for (const key of Object.keys(value)) visit((value as Record<string, unknown>)[key], `${path}.${key}`);
    }
  };
  visit(data, 'data');
  if (found) {
    throw wrongKind('data', `${show(found.path)} is ${found.foreign.is}. ${found.foreign.instead}`);
  }
}
