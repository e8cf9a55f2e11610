/**
 * Returns a field as text, if the text is clear: for a string, a finite number, a BigInt, and an object with its own
 * `toString`, such as an ObjectId, a UUID or a URL. Plain Nest writes these, too.
 *
 * @returns undefined for any other value: a boolean, an array, a Date (it has several texts), bytes, a plain object
 */
export function fieldText(value: unknown): string | undefined {
  if (typeof value === 'string') {
    return value;
  }
  if (typeof value === 'number' || typeof value === 'bigint') {
    return String(value);
  }
  return typeof value === 'object' && value !== null && !hasNoText(value) ? objectText(value) : undefined;
}

function hasNoText(value: object): boolean {
  const isThenable = typeof (value as { then?: unknown }).then === 'function';
  return Array.isArray(value) || value instanceof Date || ArrayBuffer.isView(value) || isThenable;
}

function objectText(value: object): string | undefined {
  const { toString } = value as { toString?: unknown };
  const text: unknown = typeof toString === 'function' ? toString.call(value) : undefined;
  // The text of Object.prototype.toString, of any realm, says nothing.
  return typeof text === 'string' && !text.startsWith('[object ') ? text : undefined;
}
