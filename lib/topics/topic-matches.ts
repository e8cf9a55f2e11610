import type { TypedPattern } from '../wire/index.js';
import { matches } from './pattern-trie.js';
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
 * @throws SseError `topic-invalid`: also for the two in the wrong order, if there is a wildcard. From within
 * `authorize` it withholds the event
 */
export function topicMatches(pattern: string | TypedPattern<object>, name: string): boolean {
  return matches(parsePattern(nameOf(pattern)), parseTopic(name));
}
