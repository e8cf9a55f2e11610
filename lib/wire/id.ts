/** Longer ones are neither sent nor read: the header is a client's to fill, and its value goes into logs and lookups. */
export const MAX_ID_LENGTH = 1024;

const SPACE = 0x20;
const TILDE = 0x7e;

/**
 * Whether a text can make the way out as an event's `id` and back as `Last-Event-ID`, and arrive unchanged: printable
 * ASCII, because clients differ in how they put anything else into a header, some as UTF-8 and some as latin1; no space
 * at either end, because HTTP strips it; not empty; at most {@link MAX_ID_LENGTH} characters.
 */
export function isId(text: string): boolean {
  const { length } = text;
  if (length === 0 || length > MAX_ID_LENGTH) return false;
  if (text.charCodeAt(0) === SPACE || text.charCodeAt(length - 1) === SPACE) return false;
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code < SPACE || code > TILDE) return false;
  }
  return true;
}
