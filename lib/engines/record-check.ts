import { isTopic, NO_NONCE, recordBytes } from '../wire/index.js';
import { RepeatLimit, show } from '../errors/index.js';
import type { EngineContext, LogRecord } from '../log/index.js';

/** A record as it was read from an engine, before any check. */
export type UncheckedRecord = { readonly [Field in keyof LogRecord]?: unknown };

/** The limits of the records of one log. */
export interface RecordLimits {
  /** The largest frame, in UTF-8 bytes. */
  readonly maxEventBytes: number;
}

/** The latest time that a Date can have, in milliseconds since 1970. */
const MAX_TIME = 8.64e15;
const NONCE = /^[0-9a-f]{8}$/;

/**
 * Checks records that are read from an engine: other programs, and other versions of this one, can write there, too.
 * Each record is checked once, when it is read. A refused record counts as missing. The engine's reader reports it as
 * `trimmed`, or skips it if no client can have counted on it.
 */
export class RecordCheck {
  readonly #engine: string;
  readonly #warn: EngineContext['warn'];
  readonly #limit = new RepeatLimit();
  #refused = 0;

  /** @param engine - the name for messages, as `Redis` */
  constructor(engine: string, { warn }: Pick<EngineContext, 'warn'>) {
    this.#engine = engine;
    this.#warn = warn;
  }

  /** The number of refused records. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Checks one record. A refusal is logged, at most every ten seconds.
   *
   * @param where - names the record for people, as `entry 5-77 of {sse:topics}:events`
   * @returns the record; undefined if it is refused
   */
  accept(record: UncheckedRecord, limits: RecordLimits, where: () => string): LogRecord | undefined {
    const problem = problemOf(record, limits);
    if (problem === undefined) {
      return record as LogRecord;
    }
    this.refuse(where, problem);
    return undefined;
  }

  /** Counts and logs a record that the engine itself refuses, as one that does not follow the last one. */
  refuse(where: () => string, problem: string): void {
    this.#refused += 1;
    const message = this.#limit.limit(
      'refused',
      () =>
        `${this.#engine}: ${where()} is no event of this log and was left out: ${problem}. ` +
        "Another program writes to the log's keys, or an instance has a larger maxEventBytes.",
    );
    if (message !== undefined) {
      this.#warn(message);
    }
  }
}

/** Returns the problem of a record: `<field> <expectation>, got <value>`; undefined if there is none. */
export function problemOf(record: UncheckedRecord, { maxEventBytes }: RecordLimits): string | undefined {
  const { sequence, nonce, topic, type, data, isJson, time } = record;
  if (!Number.isSafeInteger(sequence) || (sequence as number) < 1) {
    return `its sequence is a whole number from 1 on, got ${show(sequence)}`;
  }
  if (typeof nonce !== 'string' || !NONCE.test(nonce) || nonce === NO_NONCE) {
    return `its nonce is eight hexadecimal digits and not all zero, got ${show(nonce)}`;
  }
  if (!isTopic(topic)) {
    return `its topic is one to 16 tokens joined by dots, got ${show(topic)}`;
  }
  if (type !== undefined && (typeof type !== 'string' || type === '' || hasLineBreak(type))) {
    return `its type is a text without a line break, got ${show(type)}`;
  }
  if (!Number.isSafeInteger(time) || (time as number) < 0 || (time as number) > MAX_TIME) {
    return `its time is in milliseconds since 1970, got ${show(time)}`;
  }
  if (typeof data !== 'string' || typeof isJson !== 'boolean') {
    return `its data is text, got ${show(data)}`;
  }
  // Before the JSON is parsed: the time of parsing grows with the size.
  const bytes = recordBytes({ type, data, isJson }, maxEventBytes);
  if (bytes > maxEventBytes) {
    return `it has ${bytes} bytes, and maxEventBytes is ${maxEventBytes}`;
  }
  return isJson && !isJsonLine(data) ? `its data is JSON on one line, got ${show(data)}` : undefined;
}

function isJsonLine(text: string): boolean {
  if (hasLineBreak(text)) {
    return false;
  }
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function hasLineBreak(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}
