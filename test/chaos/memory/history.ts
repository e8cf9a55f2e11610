import { parsePosition } from '../../../lib/wire/index.js';

/** An event as its publisher knows it. */
export interface Published {
  readonly sequence: number;
  readonly topic: string;
  readonly data: { readonly n: number; readonly pad: string };
}

/** What was published, as the publishers were told: the truth that every client is held against. */
export class History {
  readonly #events: Published[] = [];
  /** The last sequence of each topic, and the last that passes {@link passesFilter}. */
  readonly #last = new Map<string, number>();
  readonly #lastFiltered = new Map<string, number>();

  /** The sequence of the newest event. */
  get last(): number {
    return this.#events.length - 1;
  }

  add(position: string, topic: string, data: Published['data']): void {
    const { sequence } = parsePosition(position)!;
    const event = { sequence, topic, data };
    this.#events[sequence] = event;
    this.#last.set(topic, sequence);
    if (passesFilter(event)) {
      this.#lastFiltered.set(topic, sequence);
    }
  }

  at(sequence: number): Published | undefined {
    return this.#events[sequence];
  }

  lastOf(topic: string, { filtered }: { filtered: boolean }): number {
    return (filtered ? this.#lastFiltered : this.#last).get(topic) ?? 0;
  }
}

/** The filter of those who have one. */
export function passesFilter({ data }: Pick<Published, 'data'>): boolean {
  return data.n % 3 !== 0;
}

/** Topics that only some may see. */
export function isSecret(topic: string): boolean {
  return topic.startsWith('secret.');
}

const covered = new Map<string, Map<string, boolean>>();

/** Whether a pattern matches a topic: written for this test, as plainly as can be, and remembered. */
export function covers(pattern: string, topic: string): boolean {
  let topics = covered.get(pattern);
  if (!topics) {
    topics = new Map();
    covered.set(pattern, topics);
  }
  let verdict = topics.get(topic);
  if (verdict === undefined) {
    verdict = expressionOf(pattern).test(topic);
    topics.set(topic, verdict);
  }
  return verdict;
}

function expressionOf(pattern: string): RegExp {
  const tokens = pattern
    .split('.')
    .map((token) => (token === '*' ? '[^.]+' : token === '>' ? '.+' : token.replace(/\W/g, '\\$&')));
  return new RegExp(`^${tokens.join('\\.')}$`);
}
