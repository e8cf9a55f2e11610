import type { TypedPattern } from './topic-event.js';
import { coversTopic } from './topic-cover.js';
import { nameOf, parsePattern, parseTopic } from './topic-name.js';

/**
 * Returns whether a pattern matches a topic, for `authorize`. Make the pattern with the `topic` template: it compares
 * each value as one token. A test such as `topic.startsWith('users.' + id)` lets user `4` read the topics of user `42`,
 * and compares a plain id with an escaped one.
 *
 * @example
 * ```ts
 * authorize: (name, connection) => topicMatches(topic`users.${userOf(connection).id}.>`, name)
 * ```
 *
 * @param pattern - a pattern made by the `topic` template or by `defineTopic`
 * @param name - the topic, as `authorize` receives it
 * @throws SseError `topic-invalid` if an argument is no string, the pattern has a `>` before its end, or the name has a
 * wildcard (the arguments may be in the wrong order). An error within `authorize` withholds the event
 */
export function topicMatches(pattern: string | TypedPattern<object>, name: string): boolean {
  const wanted = nameOf(pattern);
  if (typeof wanted !== 'string' || typeof name !== 'string' || /[*>]/.test(name)) {
    parsePattern(wanted);
    parseTopic(name);
  }
  // What is no pattern is refused by name.
  return coversTopic(wanted as string, name) ?? parsePattern(wanted).length === 0;
}
