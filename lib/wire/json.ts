import { show, SseError } from '../errors/index.js';
import { wrongContent, wrongKind } from './refusal.js';

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
  // Nearly all data: a look at each name that a stream might have costs as much as a tenth of the JSON.
  if (Object.getPrototypeOf(value) === Object.prototype && isPlain(value)) return undefined;
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

function isPlain(value: object): boolean {
  return typeof (value as Shape).then !== 'function' && !(Symbol.asyncIterator in value);
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

// What JSON makes of promises and streams, of typed arrays, and of a Buffer. Other data may look so, and is looked into.
// Short of a match this costs little: a search is for the first character, which is rare.
function mayHideForeign(json: string): boolean {
  return json.includes('{}') || json.includes('0":') || json.includes('Buffer","data":[');
}

/** Looks at every value of which JSON was made. */
function refuseForeignWithin(data: unknown): void {
  if (!hasForeignWithin(data)) return;
  let found: { foreign: Foreign; path: string } | undefined;
  // To the end, for several promises may reject. There is no circle: JSON would have met it.
  const visit = (value: object, path: string): void => {
    const foreign = foreignObject(value);
    if (foreign) found ??= { foreign, path };
    else forEachWithin(value, (inner, key) => visit(inner, `${path}.${key}`));
  };
  visit(data as object, 'data');
  if (found) {
    throw wrongKind('data', `${show(found.path)} is ${found.foreign.is}. ${found.foreign.instead}`);
  }
}

function hasForeignWithin(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (foreignObject(value)) return true;
  let hasForeign = false;
  forEachWithin(value, (inner) => {
    hasForeign ||= hasForeignWithin(inner);
  });
  return hasForeign;
}

/** The objects of which JSON wrote an object: none of one that says itself what of it is data. */
function forEachWithin(value: object, visit: (inner: object, key: string) => void): void {
  if (typeof (value as Partial<Shape>).toJSON === 'function') return;
  for (const key of Object.keys(value)) {
    const inner = (value as Record<string, unknown>)[key];
    if (typeof inner === 'object' && inner !== null) visit(inner, key);
  }
}
