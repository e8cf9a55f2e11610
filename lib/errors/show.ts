const SHOWN_CHARACTERS = 80;

/** A value for a message: short, on one line, and unable to break a log whatever a client put into it. */
export function show(value: unknown): string {
  if (typeof value === 'bigint') return `${cut(String(value))}n`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value !== 'string') return cut(String(value));
  // JSON leaves DEL, the C1 controls and the two Unicode line separators as they are, and terminals act on them.
  return JSON.stringify(cut(value)).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function cut(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/**
 * What was thrown, for a message. Anything can be thrown: an object without a prototype, say, cannot be made into
 * text, and an error of its own inside a `catch` would end the process.
 */
export function reasonOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    return `${typeof error} that cannot be shown`;
  }
}
