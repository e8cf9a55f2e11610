/** Values under patterns, found by topic: what is under other topics costs nothing. */
export class PatternTrie<T> {
  readonly #root = new Node<T>();

  add(tokens: readonly string[], value: T): void {
    let node = this.#root;
    for (const token of tokens) {
      node = node.ensure(token);
    }
    node.values ??= new Set();
    node.values.add(value);
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
    path.at(-1)!.values?.delete(value);
    // Topics come and go by the million: an empty branch would stay for ever.
    for (let depth = tokens.length; depth > 0 && path[depth]!.isEmpty; depth -= 1) {
      path[depth - 1]!.children!.delete(tokens[depth - 1]!);
    }
  }

  /** The sets of values whose pattern matches; empty ones may be among them. */
  match(tokens: readonly string[]): Set<T>[] {
    const found: Set<T>[] = [];
    collect(this.#root, tokens, 0, found);
    return found;
  }

  get isEmpty(): boolean {
    return this.#root.isEmpty;
  }
}

class Node<T> {
  children: Map<string, Node<T>> | undefined;
  values: Set<T> | undefined;

  get isEmpty(): boolean {
    return !this.children?.size && !this.values?.size;
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

function collect<T>(node: Node<T>, tokens: readonly string[], depth: number, found: Set<T>[]): void {
  if (depth === tokens.length) {
    if (node.values) {
      found.push(node.values);
    }
    return;
  }
  const { children } = node;
  if (!children) {
    return;
  }
  const rest = children.get('>')?.values;
  if (rest) {
    found.push(rest);
  }
  for (const token of [tokens[depth]!, '*']) {
    const child = children.get(token);
    if (child) {
      collect(child, tokens, depth + 1, found);
    }
  }
}

/** Whether a pattern matches a topic, both as tokens. */
export function matches(pattern: readonly string[], topic: readonly string[]): boolean {
  for (const [depth, token] of pattern.entries()) {
    if (token === '>') {
      return topic.length > depth;
    }
    if (depth >= topic.length || (token !== '*' && token !== topic[depth])) {
      return false;
    }
  }
  return pattern.length === topic.length;
}
