/** The most characters of a topic or pattern. */
export const MAX_TOPIC_LENGTH = 256;
/** The most tokens of a topic or pattern. */
export const MAX_TOPIC_TOKENS = 16;

// Tokens of printable ASCII without a space, joined by dots. No token is empty.
const TOPIC = /^[!-\-/-~]+(?:\.[!-\-/-~]+)*$/;
const WILDCARD = /(?:^|\.)[*>](?:\.|$)/;

/**
 * Returns whether a value can be the topic of a record in a log. A token `*` or `>` would match the wildcard of a
 * pattern, and one client would get the event twice. `parseTopic` checks the same for publishing, and says what is
 * wrong.
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
