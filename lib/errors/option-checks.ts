import { SseError } from './sse.error.js';
import { show } from './show.js';

// Node fires a longer timeout at once.
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The checks of what an engine is given: each error says whose option it is, what it must be, and what was given. */
export class OptionChecks {
  readonly #owner: string;

  /** @param owner whose options they are, as `redis()` */
  constructor(owner: string) {
    this.#owner = owner;
  }

  /** @throws SseError `options-invalid` where they are no object, or one of them is not known */
  refuseUnknown(options: unknown, known: readonly string[]): void {
    if (typeof options !== 'object' || options === null) {
      throw this.invalid(`The options of ${this.#owner} are an object, got ${show(options)}.`);
    }
    // A misspelt option would otherwise do nothing, and be missed at night.
    const unknown = Object.keys(options).find((field) => !known.includes(field));
    if (unknown !== undefined) {
      throw this.invalid(
        `${this.#owner} has no option ${show(unknown)}. The options are ${known.join(', ')}.`,
        unknown,
      );
    }
  }

  /** A number of at least 1, which may have no end. */
  atLeastOne(field: string, value: unknown, otherwise: number): number {
    return this.#value(field, value, otherwise, 'a number, 1 or more', (given) => given >= 1);
  }

  /** A whole number; undefined where none is given. */
  whole(field: string, value: unknown, least = 1, most = Number.MAX_SAFE_INTEGER): number | undefined {
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
    const isWithin = (given: number) => Number.isSafeInteger(given) && given >= least && given <= most;
    return this.#value(field, value, undefined, `a whole number, ${range}`, isWithin);
  }

  /** Milliseconds that a timer can wait. */
  timer(field: string, value: unknown, otherwise: number): number {
    const expected = `a number of milliseconds from 1 to ${MAX_TIMER_MS}`;
    return this.#value(field, value, otherwise, expected, (given) => given >= 1 && given <= MAX_TIMER_MS);
  }

  /** @param allowed characters for people, as `letters and digits` */
  name(field: string, value: unknown, otherwise: string, pattern: RegExp, allowed: string): string {
    if (value === undefined) {
      return otherwise;
    }
    if (typeof value === 'string' && pattern.test(value)) {
      return value;
    }
    throw this.invalid(
      `${field} of ${this.#owner} must be 1 to 64 of ${allowed}, got ${show(value)}.`,
      field,
    );
  }

  invalid(message: string, field?: string): SseError {
    return new SseError('options-invalid', message, { field });
  }

  #value<T extends number | undefined>(
    field: string,
    value: unknown,
    otherwise: T,
    expected: string,
    isRight: (value: number) => boolean,
  ): number | T {
    if (value === undefined) {
      return otherwise;
    }
    if (typeof value === 'number' && isRight(value)) {
      return value;
    }
    throw this.invalid(`${field} of ${this.#owner} must be ${expected}, got ${show(value)}.`, field);
  }
}
