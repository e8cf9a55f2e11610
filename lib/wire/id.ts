/** The longest id that is sent or read, in characters. A client fills the header, and its value goes into logs. */
export const MAX_ID_LENGTH = 1024;

const SPACE = 0x20;
const TILDE = 0x7e;

/**
 * Returns whether a text comes back unchanged as `Last-Event-ID` if it is sent as an `id`. It is printable ASCII, since
 * clients encode other characters in a header as UTF-8 or as latin1. It has no space at either end, since HTTP strips
 * spaces. It is not empty and has at most {@link MAX_ID_LENGTH} characters.
 */
export function isId(text: string): boolean {
  const { length } = text;
  if (length === 0 || length > MAX_ID_LENGTH) {
    return false;
  }
  if (text.charCodeAt(0) === SPACE || text.charCodeAt(length - 1) === SPACE) {
    return false;
  }
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code < SPACE || code > TILDE) {
      return false;
    }
  }
  return true;
}
