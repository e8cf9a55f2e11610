import { show, SseError } from '../errors/index.js';
import { wrongContent, wrongKind } from './refusal.js';

/**
 * Encodes data as JSON on one line. U+0085, U+2028 and U+2029 are escaped: clients that split lines by Unicode's rules,
 * such as Python's `splitlines`, would break the line there.
 *
 * @throws SseError `event-invalid`. The kind is wrong: functions, symbols, and values that JSON silently changes
 * (bytes, promises, streams, also within the data). The content is wrong: a circle, a BigInt, an error of a `toJSON` or
 * getter
 */
export function toJson(data: unknown): string {
  try {
    refuseForeign(data);
    const json = JSON.stringify(data) as string | undefined;
    if (json === undefined) {
      throw wrongContent('data', `"data" has no JSON: got ${show(data)}.`);
    }
    if (mayHideForeign(json)) {
      refuseForeignWithin(data);
    }
    return escapeLineSeparators(json);
  } catch (cause) {
    if (cause instanceof SseError) {
      throw cause;
    }
    // V8 draws the circle on the lines after the first.
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : cause;
    throw wrongContent('data', `"data" cannot be written as JSON: ${show(reason)}.`, cause);
  }
}

/** Escapes the characters in JSON that end a line for some clients, although not by the standard. */
export function escapeLineSeparators(json: string): string {
  // Nearly no text has such a character. A search is several times as fast as a regular expression.
  if (!json.includes('\u0085') && !json.includes('\u2028') && !json.includes('\u2029')) {
    return json;
  }
  return json.replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Refuses a value that is no data: bytes, a promise, a stream, a function.
 *
 * @throws SseError `event-invalid`; the message names the ways out
 */
export function refuseForeign(value: unknown, name = '"data"'): void {
  const foreign = foreignOf(value);
  if (foreign) {
    throw wrongKind('data', `${name} is ${foreign.is}. ${foreign.instead}`);
  }
}

/**
 * Handles the rejection of a promise that was given instead of an event. No caller awaits it: unhandled, its rejection
 * would crash the process.
 */
export function disarmPromises(value: unknown): void {
  disarm(value);
  try {
    disarm((value as { data?: unknown } | null | undefined)?.data);
  } catch {
    // The app's getter throws: there is no promise.
  }
}

interface Foreign {
  /** A noun for the value, for the message. */
  readonly is: string;
  /** The way out, for the message. */
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
  if (typeof value === 'function' || typeof value === 'symbol') {
    return callable(typeof value as 'function');
  }
  return typeof value === 'object' && value !== null ? foreignObject(value) : undefined;
}

type Shape = Record<'then' | 'toJSON' | 'getReader' | 'arrayBuffer' | 'subscribe' | 'pipe', unknown> & {
  [Symbol.asyncIterator]: unknown;
};

// By shape and tag, not by class: a value may come from another realm, or another copy of a library.
function foreignObject(value: object): Foreign | undefined {
  if (Array.isArray(value)) {
    return undefined;
  }
  // Nearly all data ends here: checking each name that a stream may have costs a tenth of the JSON.
  if (Object.getPrototypeOf(value) === Object.prototype && isPlain(value)) {
    return undefined;
  }
  if (ArrayBuffer.isView(value) || isBuffer(value)) {
    return bytes(tagOf(value));
  }
  const shape = value as Shape;
  if (typeof shape.then === 'function') {
    disarm(value);
    return PROMISE;
  }
  // Its toJSON gives the data.
  if (typeof shape.toJSON === 'function') {
    return undefined;
  }
  // A Blob, a File, a Response.
  if (typeof shape.arrayBuffer === 'function') {
    return bytes(tagOf(value));
  }
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
  // Native promises alone: calling the then() of a query, such as Knex's or Mongoose's, starts the query.
  if (typeof value === 'object' && value !== null && tagOf(value) === 'Promise') {
    void Promise.prototype.then.call(value, undefined, () => undefined);
  }
}

// The JSON of promises and streams, of typed arrays, and of a Buffer. Other data may have the same JSON, and is checked
// then. Without a match this is cheap: the search is for the first character, which is rare.
function mayHideForeign(json: string): boolean {
  return json.includes('{}') || json.includes('0":') || json.includes('Buffer","data":[');
}

/** Checks each value that went into the JSON. */
function refuseForeignWithin(data: unknown): void {
  if (!hasForeignWithin(data)) {
    return;
  }
  let found: { foreign: Foreign; path: string } | undefined;
  // Goes on to the end, since several promises may reject. There is no circle: JSON would have failed.
  const visit = (value: object, path: string): void => {
    const foreign = foreignObject(value);
    if (foreign) {
      found ??= { foreign, path };
    } else {
      forEachWithin(value, (inner, key) => visit(inner, `${path}.${key}`));
    }
  };
  visit(data as object, 'data');
  if (found) {
    throw wrongKind('data', `${show(found.path)} is ${found.foreign.is}. ${found.foreign.instead}`);
  }
}

function hasForeignWithin(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  if (foreignObject(value)) {
    return true;
  }
  let hasForeign = false;
  forEachWithin(value, (inner) => {
    hasForeign ||= hasForeignWithin(inner);
  });
  return hasForeign;
}

/** Returns the objects within a value, as JSON sees them; none for a value with a toJSON. */
function forEachWithin(value: object, visit: (inner: object, key: string) => void): void {
  if (typeof (value as Partial<Shape>).toJSON === 'function') {
    return;
  }
  for (const key of Object.keys(value)) {
    const inner = (value as Record<string, unknown>)[key];
    if (typeof inner === 'object' && inner !== null) {
      visit(inner, key);
    }
  }
}
