import { SseError } from '../../errors/index.js';
import type { NewRecord } from '../../log/index.js';
import type { PostgresContext } from './context.js';
import { codeOf } from './failure.js';
import type { PostgresSettings } from './options.js';
import { storedData } from './replies.js';
import { runIn } from './transactions.js';

/** The first and the last pause between checks of the outbox. Each pause is twice the one before: two seconds in all. */
const FIRST_MS = 2;
const LAST_MS = 1_024;
/**
 * The pause after a check that found events, in times of what it took, and its bounds: checks must not take the database
 * from the transactions that they wait for. Publishes that come seldom do not notice it.
 */
const REST = 4;
const LEAST_REST_MS = 10;
const MOST_REST_MS = 100;
/** Codes of a database that lacks the schema. */
const MISSING = new Set(['3F000', '42P01']);

/**
 * The events that the app publishes within transactions of its own. They wait in a table until the transaction has
 * committed. PostgreSQL does not report the commit: this process checks for them again and again for two seconds, and
 * every instance once a second.
 */
export class Outbox {
  readonly #settings: PostgresSettings;
  readonly #context: PostgresContext;
  readonly #insert: string;
  #pauseMs = FIRST_MS;
  /** No check before this time, in milliseconds of `performance`. */
  #restsUntil = 0;
  #isLooking = false;
  /** Ends the present pause, if it is a long one. */
  #hurry: () => void = () => undefined;

  constructor(settings: PostgresSettings, context: PostgresContext) {
    this.#settings = settings;
    this.#context = context;
    this.#insert =
      `insert into "${settings.schema}".outbox (log, "time", kind, topic, type, data) values ` +
      "($1::text, $2::text::bigint, $3::text::smallint, $4::text, nullif($5::text, ''), $6::text)";
  }

  /** @throws SseError `misuse` if it is no transaction; the error of the app's library */
  async add(transaction: unknown, records: readonly NewRecord[]): Promise<void> {
    for (const { topic, type = '', data, isJson } of records) {
      const { kind, text } = storedData(data, isJson);
      const params = [this.#settings.log, String(Date.now()), kind, topic, type.toWellFormed(), text];
      try {
        await runIn(transaction, this.#insert, params);
      } catch (error) {
        throw this.#explained(error);
      }
    }
    this.#lookSoon();
  }

  /** Takes what was committed since the last check: there may be no other instance that does it soon. */
  async close(): Promise<void> {
    if (this.#isLooking) {
      // A failure loses nothing: the events stay in the table, for another instance or the next one to start.
      await this.#context.drain().catch(() => undefined);
    }
  }

  /** Errors are the app's own, so that it can try its transaction again. One of ours needs more words. */
  #explained(error: unknown): unknown {
    if (!MISSING.has(codeOf(error) ?? '')) {
      return error;
    }
    return new SseError(
      'publish-failed',
      `The database of the transaction has no schema ${this.#settings.schema} of the log: the event was not published. ` +
        `The transaction and the database of ${this.#settings.owner} must be the same.`,
      { cause: error, isOutcomeKnown: true },
    );
  }

  #lookSoon(): void {
    this.#pauseMs = FIRST_MS;
    this.#hurry();
    if (!this.#isLooking) {
      this.#isLooking = true;
      void this.#look();
    }
  }

  async #look(): Promise<void> {
    const { closed } = this.#context;
    while (this.#pauseMs <= LAST_MS && !closed.aborted) {
      const pauseMs = this.#pauseMs;
      this.#pauseMs *= 2;
      if (await this.#isHurried(pauseMs)) {
        continue;
      }
      try {
        await this.#drain();
      } catch {
        // The watch reports a failure of this connection, and every instance goes on checking once a second.
        break;
      }
    }
    this.#isLooking = false;
  }

  async #drain(): Promise<void> {
    const startedAt = performance.now();
    if ((await this.#context.drain()) > 0) {
      const endedAt = performance.now();
      const restMs = Math.max(LEAST_REST_MS, REST * (endedAt - startedAt));
      this.#restsUntil = endedAt + Math.min(restMs, MOST_REST_MS);
    }
  }

  /**
   * Pauses before a check. @returns true if a publish has ended the pause: its transaction has yet to commit, so a short
   * pause comes first. The shortest one is never ended, or publishes that follow each other would put off every check.
   */
  async #isHurried(pauseMs: number): Promise<boolean> {
    const restMs = this.#restsUntil - performance.now();
    const pause = this.#context.commands.pause(Math.max(pauseMs, restMs)).then(() => false);
    if (pauseMs === FIRST_MS) {
      return pause;
    }
    const hurried = new Promise<true>((resolve) => {
      this.#hurry = () => resolve(true);
    });
    const isHurried = await Promise.race([pause, hurried]);
    this.#hurry = () => undefined;
    return isHurried;
  }
}
