import { show } from './show.js';
import { SseError } from './sse.error.js';

/** The longest time that a timer of Node can wait, in milliseconds. Node fires a longer timer at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Checks options. Each error says which option it is, what it must be, and what was given. */
export class OptionChecks {
  readonly #owner: string | undefined;

  /** @param owner - the call whose options they are, as `redis()`; absent for the options of the module */
  constructor(owner?: string) {
    this.#owner = owner;
  }

  /**
   * Refuses an option that does not exist. A misspelt option would otherwise be ignored silently.
   *
   * @param owner - for options within an option, as `drain`
   * @throws SseError `options-invalid`, also if the options are no object
   */
  refuseUnknown(options: unknown, known: readonly string[], owner = this.#owner): void {
    if (typeof options !== 'object' || options === null) {
      throw this.invalid(`The options of ${owner} are an object, got ${show(options)}.`);
    }
    const unknown = Object.keys(options).find((field) => !known.includes(field));
    if (unknown !== undefined) {
      throw this.invalid(
        `${owner} has no option ${show(unknown)}. The options are ${known.join(', ')}.`,
        unknown,
      );
    }
  }

  /** Returns a number of at least `least`, which may be Infinity. */
  atLeast(field: string, value: unknown, otherwise: number, least?: number): number;
  atLeast(field: string, value: unknown, otherwise?: number, least?: number): number | undefined;
  atLeast(field: string, value: unknown, otherwise?: number, least = 1): number | undefined {
    return this.#number(field, value, otherwise, `a number, ${least} or more`, (given) => given >= least);
  }

  /** Returns a whole number; undefined if none is given. */
  whole(field: string, value: unknown, least = 1, most = Number.MAX_SAFE_INTEGER): number | undefined {
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
    const isWithin = (given: number) => Number.isSafeInteger(given) && given >= least && given <= most;
    return this.#number(field, value, undefined, `a whole number, ${range}`, isWithin);
  }

  /**
   * Returns milliseconds that a timer can wait.
   *
   * @param orElse - what else the option takes, as `, or false`
   */
  timer(field: string, value: unknown, otherwise: number, least = 1, orElse = ''): number {
    const expected = `a number of milliseconds from ${least} to ${MAX_TIMER_MS}${orElse}`;
    const isWithin = (given: number) => given >= least && given <= MAX_TIMER_MS;
    return this.#number(field, value, otherwise, expected, isWithin);
  }

  /** Returns true or false. */
  flag(field: string, value: unknown, otherwise: boolean): boolean {
    if (value === undefined || typeof value === 'boolean') {
      return value ?? otherwise;
    }
    throw this.refusal(field, 'true or false', value);
  }

  /** Returns a function, or undefined if none is given. */
  callable<T>(field: string, value: T, expected = 'a function'): T {
    if (value === undefined || typeof value === 'function') {
      return value;
    }
    throw this.refusal(field, expected, value);
  }

  /** Returns one of some words. The first is the default. */
  oneOf<T extends string>(field: string, value: unknown, words: readonly [T, ...T[]]): T {
    const found = value === undefined ? words[0] : words.find((word) => word === value);
    if (found === undefined) {
      throw this.refusal(field, words.map((word) => `'${word}'`).join(' or '), value);
    }
    return found;
  }

  /**
   * Returns a name of 1 to 64 characters.
   *
   * @param allowed - the characters that the pattern allows, in words, as `letters and digits`
   */
  name(field: string, value: unknown, otherwise: string, pattern: RegExp, allowed: string): string {
    if (value === undefined) {
      return otherwise;
    }
    if (typeof value === 'string' && pattern.test(value)) {
      return value;
    }
    throw this.refusal(field, `1 to 64 of ${allowed}`, value);
  }

  /** Makes the error for an option that has a wrong value. */
  refusal(field: string, expected: string, value: unknown): SseError {
    const owner = this.#owner === undefined ? '' : ` of ${this.#owner}`;
    return this.invalid(`${field}${owner} must be ${expected}, got ${show(value)}.`, field);
  }

  /** Makes an `options-invalid` error with a message of its own. */
  invalid(message: string, field?: string): SseError {
    return new SseError('options-invalid', message, { field });
  }

  #number<T extends number | undefined>(
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
    throw this.refusal(field, expected, value);
  }
}
