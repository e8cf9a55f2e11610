import { parsePosition } from '../../lib/wire/index.js';

/** Whether a pattern matches a topic: written for this test, as plainly as can be. */
export function covers(pattern: string, topic: string): boolean {
  const expression = pattern
    .split('.')
    .map((token) =>
      token === '*' ? '[^.]+' : token === '>' ? '.+' : token.replace(/[^A-Za-z0-9_]/g, '\\$&'),
    )
    .join('\\.');
  return new RegExp(`^${expression}$`).test(topic);
}

/** What was published, as the publishers were told: the truth that every client is held against. */
export class History {
  readonly #topics: string[] = [];
  readonly #contents: string[] = [];
  readonly #positions: string[] = [];

  get last(): number {
    return this.#topics.length - 1;
  }

  add(position: string, topic: string, content: string): void {
    const { sequence } = parsePosition(position)!;
    this.#topics[sequence] = topic;
    this.#contents[sequence] = content;
    this.#positions[sequence] = position;
  }

  at(sequence: number): { topic: string; content: string; position: string } | undefined {
    const topic = this.#topics[sequence];
    return topic === undefined
      ? undefined
      : { topic, content: this.#contents[sequence]!, position: this.#positions[sequence]! };
  }

  /** The first sequence between the two, both excluded, that one of the patterns covers. */
  missingBetween(after: number, before: number, patterns: readonly string[]): number | undefined {
    for (let sequence = after + 1; sequence < before; sequence += 1) {
      const topic = this.#topics[sequence];
      if (topic !== undefined && patterns.some((pattern) => covers(pattern, topic))) {
        return sequence;
      }
    }
    return undefined;
  }
}
