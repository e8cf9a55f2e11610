import { isTopic, NO_NONCE, recordBytes } from '../wire/index.js';
import { RepeatLimit, show } from '../errors/index.js';
import type { EngineContext, LogRecord } from '../log/index.js';

/** A record as an engine has read it, before anything of it is believed. */
export type UncheckedRecord = { readonly [Field in keyof LogRecord]?: unknown };

/** What the records of one log may be. */
export interface RecordLimits {
  /** The largest frame, in UTF-8 bytes. */
  readonly maxEventBytes: number;
}

/** Past it a Date has no value. */
const MAX_TIME = 8.64e15;
const NONCE = /^[0-9a-f]{8}$/;

/**
 * Checks what is read from an engine: other programs, and other versions of this one, can write there, too. Each record
 * is checked once, as it is read. What does not pass is as good as absent: a hole in the log, which the engine's
 * reader tells as `trimmed`, or passes over where nobody can have counted on it.
 */
export class RecordCheck {
  readonly #engine: string;
  readonly #warn: EngineContext['warn'];
  readonly #limit = new RepeatLimit();
  #refused = 0;

  /** @param engine - for people, as `Redis` */
  constructor(engine: string, { warn }: Pick<EngineContext, 'warn'>) {
    this.#engine = engine;
    this.#warn = warn;
  }

  /** How many records were refused. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Checks one record. A refusal is logged, at most every ten seconds.
   *
   * @param where - names the record for people, as `entry 5-77 of {sse:topics}:events`
   * @returns the record, or undefined if it cannot be one
   */
  accept(record: UncheckedRecord, limits: RecordLimits, where: () => string): LogRecord | undefined {
    const problem = problemOf(record, limits);
    if (problem === undefined) {
      return record as LogRecord;
    }
    this.refuse(where, problem);
    return undefined;
  }

  /** Counts and logs something that an engine has seen by itself to be no record, as one that does not follow. */
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

/** Tells what is wrong with a record: `<field> <expectation>, got <value>`; undefined if nothing is. */
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
  // Before the JSON is looked at: parsing takes time in proportion.
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
