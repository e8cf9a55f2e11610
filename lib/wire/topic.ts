/** The longest topic or pattern, in characters. */
export const MAX_TOPIC_LENGTH = 256;
/** The most tokens of a topic or pattern. */
export const MAX_TOPIC_TOKENS = 16;

// Printable ASCII without a space, in tokens of one character at least, joined by dots.
const TOPIC = /^[!-\-/-~]+(?:\.[!-\-/-~]+)*$/;
const WILDCARD = /(?:^|\.)[*>](?:\.|$)/;

/**
 * Tells whether a value can stand as a topic in a log. Publishing is stricter about wildcards and says why: see
 * `parseTopic`. A token `*` or `>` would match a pattern's own wildcard, and so one client twice.
 */
export function isTopic(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= MAX_TOPIC_LENGTH &&
    TOPIC.test(value) &&
    !WILDCARD.test(value) &&
    value.split('.', MAX_TOPIC_TOKENS + 1).length <= MAX_TOPIC_TOKENS
  );
}
