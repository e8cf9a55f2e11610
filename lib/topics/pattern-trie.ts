/** A trie of values under patterns. Matching a topic costs nothing for values under other topics. */
export class PatternTrie<T> {
  readonly #root = new Node<T>();

  add(tokens: readonly string[], value: T): void {
    let node = this.#root;
    for (const token of tokens) {
      node = node.ensure(token);
    }
    node.add(value);
  }

  remove(tokens: readonly string[], value: T): void {
    const path = [this.#root];
    for (const token of tokens) {
      const next = path.at(-1)!.children?.get(token);
      if (!next) {
        return;
      }
      path.push(next);
    }
    path.at(-1)!.delete(value);
    // Topics come and go by the million: empty branches would fill the memory.
    for (let depth = tokens.length; depth > 0 && path[depth]!.isEmpty; depth -= 1) {
      path[depth - 1]!.children!.delete(tokens[depth - 1]!);
    }
  }

  /** Returns the groups of values whose pattern matches. A group has the values of the moment of iteration. */
  match(tokens: readonly string[]): Iterable<T>[] {
    const found: Iterable<T>[] = [];
    collect(this.#root, tokens, 0, found);
    return found;
  }

  get isEmpty(): boolean {
    return this.#root.isEmpty;
  }
}

class Node<T> implements Iterable<T> {
  children: Map<string, Node<T>> | undefined;
  // Most topics have one follower, and a Set for one value takes as much memory as the follower.
  #only: T | undefined;
  #several: Set<T> | undefined;

  get hasValues(): boolean {
    return this.#only !== undefined || this.#several !== undefined;
  }

  get isEmpty(): boolean {
    return !this.hasValues && !this.children?.size;
  }

  [Symbol.iterator](): Iterator<T> {
    return (this.#several ?? (this.#only === undefined ? [] : [this.#only]))[Symbol.iterator]();
  }

  add(value: T): void {
    if (this.#several) {
      this.#several.add(value);
    } else if (this.#only === undefined) {
      this.#only = value;
    } else if (this.#only !== value) {
      this.#several = new Set([this.#only, value]);
      this.#only = undefined;
    }
  }

  delete(value: T): void {
    if (this.#only === value) {
      this.#only = undefined;
    } else if (this.#several?.delete(value) && this.#several.size === 0) {
      this.#several = undefined;
    }
  }

  ensure(token: string): Node<T> {
    this.children ??= new Map();
    let child = this.children.get(token);
    if (!child) {
      child = new Node();
      this.children.set(token, child);
    }
    return child;
  }
}

function collect<T>(node: Node<T>, tokens: readonly string[], depth: number, found: Iterable<T>[]): void {
  if (depth === tokens.length) {
    if (node.hasValues) {
      found.push(node);
    }
    return;
  }
  const { children } = node;
  if (!children) {
    return;
  }
  const rest = children.get('>');
  if (rest?.hasValues) {
    found.push(rest);
  }
  for (const token of [tokens[depth]!, '*']) {
    const child = children.get(token);
    if (child) {
      collect(child, tokens, depth + 1, found);
    }
  }
}

/** Returns whether a pattern matches a topic, both as tokens. */
export function matches(pattern: readonly string[], topic: readonly string[]): boolean {
  const { length } = pattern;
  for (let depth = 0; depth < length; depth += 1) {
    const token = pattern[depth]!;
    if (token === '>') {
      return topic.length > depth;
    }
    if (depth >= topic.length || (token !== '*' && token !== topic[depth])) {
      return false;
    }
  }
  return length === topic.length;
}

/** Returns whether a pattern has a wildcard. */
export function isWide(pattern: string): boolean {
  return pattern.includes('*') || pattern.includes('>');
}

/** Makes a function that tells whether one of the patterns matches a topic. Make it once, not for each event. */
export function matcherOf(
  patterns: readonly string[],
): (topic: string, tokens: readonly string[]) => boolean {
  const topics = new Set(patterns.filter((pattern) => !isWide(pattern)));
  const wide = patterns.filter(isWide).map((pattern) => pattern.split('.'));
  return (topic, tokens) => topics.has(topic) || wide.some((pattern) => matches(pattern, tokens));
}
