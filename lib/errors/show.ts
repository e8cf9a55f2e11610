const SHOWN_CHARACTERS = 80;

/**
 * Returns a value as an error message shows it: short and on one line. A control character in a client's text cannot
 * break a log.
 */
export function show(value: unknown): string {
  if (typeof value === 'bigint') {
    return `${cut(String(value))}n`;
  }
  if (typeof value === 'object' && value !== null) {
    return showObject(value);
  }
  if (typeof value === 'function' || typeof value === 'symbol') {
    return `a ${typeof value}`;
  }
  return typeof value === 'string' ? quote(value) : cut(String(value));
}

function showObject(value: object): string {
  if (Array.isArray(value)) {
    return 'an array';
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return 'an invalid Date';
  }
  const name = classOf(value);
  return name === 'Object' || name === '' ? 'an object' : `an object of class ${quote(name)}`;
}

function classOf(value: object): string {
  try {
    const name: unknown = value.constructor.name;
    return typeof name === 'string' ? name : '';
  } catch {
    // No constructor, or a proxy that throws.
    return '';
  }
}

function quote(text: string): string {
  // JSON leaves DEL, the C1 controls and the two Unicode line separators as they are, and terminals act on them.
  return JSON.stringify(cut(text)).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function cut(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/**
 * Returns what was thrown as text, for a message. Any value can be thrown. An object without a prototype has no text,
 * and an error inside a `catch` would end the process.
 */
export function reasonOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    return `${typeof error} that cannot be shown`;
  }
}
