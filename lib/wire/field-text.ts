/**
 * The text of a field that is no string, where there can be no doubt about it: of a finite number, a BigInt, and an
 * object with a `toString` of its own, such as an ObjectId, a UUID or a URL. Plain Nest writes these as well.
 *
 * @returns undefined for anything else: a boolean, an array, a Date (which of its texts?), bytes, an object that says
 * nothing but that it is one
 */
export function fieldText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  return typeof value === 'object' && value !== null && !hasNoText(value) ? objectText(value) : undefined;
}

function hasNoText(value: object): boolean {
  const isThenable = typeof (value as { then?: unknown }).then === 'function';
  return Array.isArray(value) || value instanceof Date || ArrayBuffer.isView(value) || isThenable;
}

function objectText(value: object): string | undefined {
  const { toString } = value as { toString?: unknown };
  const text: unknown = typeof toString === 'function' ? toString.call(value) : undefined;
  // What Object.prototype.toString says, of whatever realm.
  return typeof text === 'string' && !text.startsWith('[object ') ? text : undefined;
}
