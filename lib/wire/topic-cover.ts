/**
 * Compares a topic with a pattern token by token. It makes no array of tokens, since it runs for each event and client.
 *
 * @returns undefined for a `>` before the pattern's end, which is no pattern
 */
export function coversTopic(pattern: string, topic: string): boolean | undefined {
  let at = 0;
  let from = 0;
  while (at <= pattern.length && from <= topic.length) {
    const end = endOfToken(pattern, at);
    const to = endOfToken(topic, from);
    const token = pattern.slice(at, end);
    if (token === '>') {
      // One that does not stand at the end would allow more than it says.
      return end === pattern.length || undefined;
    }
    if (token !== '*' && token !== topic.slice(from, to)) {
      return false;
    }
    at = end + 1;
    from = to + 1;
  }
  return at > pattern.length && from > topic.length;
}

function endOfToken(text: string, from: number): number {
  const dot = text.indexOf('.', from);
  return dot === -1 ? text.length : dot;
}
