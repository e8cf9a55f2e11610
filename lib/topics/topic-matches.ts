import type { TypedPattern } from '../wire/index.js';
import { nameOf, parsePattern, parseTopic } from './topic-name.js';

/**
 * Tells whether a topic is covered by a pattern, for `authorize`. The pattern comes from the `topic` template, so that
 * a value is compared as the one token that it is: `topic.startsWith('users.' + id)` lets user `42` read what is user
 * `42.inbox`'s, and compares an id as it is with one that is escaped.
 *
 * @example
 * ```ts
 * authorize: (name, connection) => topicMatches(topic`users.${userOf(connection).id}.>`, name)
 * ```
 *
 * @param pattern from the `topic` template, or what `defineTopic` gives
 * @param name the topic, as `authorize` is given it
 * @throws SseError `topic-invalid` for what is no text, for a `>` before the pattern's end, and for a name with a
 * wildcard, as the two in the wrong order have. Thrown within `authorize` it withholds the event
 */
export function topicMatches(pattern: string | TypedPattern<object>, name: string): boolean {
  const wanted = nameOf(pattern);
  if (typeof wanted !== 'string' || typeof name !== 'string' || /[*>]/.test(name)) {
    parsePattern(wanted);
    parseTopic(name);
  }
  return matchesText(wanted as string, name);
}

/** Token by token, without a list of them: it is asked for each event and client. */
function matchesText(pattern: string, name: string): boolean {
  let at = 0;
  let from = 0;
  while (at <= pattern.length && from <= name.length) {
    const end = endOfToken(pattern, at);
    const to = endOfToken(name, from);
    const token = pattern.slice(at, end);
    if (token === '>') {
      // One that does not stand at the end would allow more than it says.
      return end === pattern.length || parsePattern(pattern).length === 0;
    }
    if (token !== '*' && token !== name.slice(from, to)) {
      return false;
    }
    at = end + 1;
    from = to + 1;
  }
  return at > pattern.length && from > name.length;
}

function endOfToken(text: string, from: number): number {
  const dot = text.indexOf('.', from);
  return dot === -1 ? text.length : dot;
}
