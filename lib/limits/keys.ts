/// <reference lib="es2024.string" />
import { show, SseError } from '../errors/index.js';
import { disarmPromises } from '../wire/index.js';

/** The list of a connection without a key. All such connections share it. */
export const NO_KEYS: readonly string[] = Object.freeze([]);

// A user, a tenant, and some groups.
const MAX_KEYS = 8;
// As of the owner of a run, which is a key as well.
const MAX_LENGTH = 512;

/**
 * Reads what `keyOf` has returned.
 *
 * @returns the keys, each once; none for `undefined` and an empty list
 * @throws SseError `misuse` for any other value: a key that is no text would be one that nothing else names
 */
export function keysFrom(value: unknown): readonly string[] {
  if (value === undefined) {
    return NO_KEYS;
  }
  const keys = Array.isArray(value) ? [...new Set<unknown>(value)] : [value];
  if (!areKeys(keys)) {
    disarmPromises(value);
    throw new SseError(
      'misuse',
      `keyOf must return a key, a list of at most ${MAX_KEYS} keys, or undefined. A key is a string of 1 to ` +
        `${MAX_LENGTH} characters, without half a surrogate pair. Got ${shown(keys, value)}.`,
      { field: 'keyOf' },
    );
  }
  return keys.length === 0 ? NO_KEYS : keys;
}

/** Whether a list can be the keys of a connection. */
export function areKeys(keys: readonly unknown[]): keys is readonly string[] {
  return keys.length <= MAX_KEYS && keys.every(isKey);
}

function isKey(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH && value.isWellFormed();
}

/** A key may be a secret of a user: the message shows what a value is, and no text. */
function shown(keys: readonly unknown[], value: unknown): string {
  if (!Array.isArray(value)) {
    return kindOf(value);
  }
  return keys.length > MAX_KEYS
    ? `${keys.length} keys`
    : `a list with ${kindOf(keys.find((key) => !isKey(key)))}`;
}

function kindOf(value: unknown): string {
  if (typeof value !== 'string') {
    return show(value);
  }
  return value.length > MAX_LENGTH
    ? `a string of ${value.length} characters`
    : value === ''
      ? '""'
      : 'half a surrogate pair';
}
