import { toldBy } from './tokens.js';
import type { Told, TokenFormat } from './tokens.js';

/** The words of an answer that a page has put together, over all connections on which it went on. */
export class HeardWords {
  readonly #format: TokenFormat;
  #recorded: string[] = [];
  /** Those without an id, on this connection. They have no place in the log, so each connection gets all of them. */
  #ofLoss: string[] = [];

  constructor(format: TokenFormat) {
    this.#format = format;
  }

  /** What they say of the answer; undefined where there are none, or more must come. */
  get told(): Told {
    const told = (words: string[]) => (words.length > 0 ? toldBy(this.#format, words) : undefined);
    return told(this.#recorded) ?? told(this.#ofLoss);
  }

  /** @param id - of the event that the word came in; empty where it had none */
  hear(word: string, id: string): void {
    (id === '' ? this.#ofLoss : this.#recorded).push(word);
  }

  /** Says that the page asks again, from where it stands. */
  reconnect(): void {
    this.#ofLoss = [];
  }

  /** Says that the page begins anew. */
  forget(): void {
    this.#recorded = [];
    this.#ofLoss = [];
  }
}
