import type { EngineWatch, EntryRules, LogKnowledge, NonceSource } from '../index.js';
import type { PostgresFailure } from './failure.js';
import type { PostgresLink } from './link.js';
import type { Notifier } from './notifier.js';
import type { PostgresSettings } from './options.js';
import type { PostgresReader } from './reader.js';
import type { SeenLog } from './replies.js';

/** The parts that the logs of a store share. */
export interface PostgresContext {
  readonly settings: PostgresSettings;
  readonly nonces: NonceSource;
  readonly commands: PostgresLink;
  readonly reader: PostgresReader;
  readonly notifier: Notifier;
  readonly watch: EngineWatch<PostgresFailure>;
  /** What this process knows of the app's log. */
  readonly knowledge: LogKnowledge;
  /** Reads the head of the app's log, and begins it if there is none. */
  head(): Promise<SeenLog>;
  /** Gives the app's log a new epoch: events stand past its head. */
  mend(): Promise<void>;
  /** Takes the committed events out of the outbox. @returns of how many transactions */
  drain(): Promise<number>;
  /** Checks the entries of a log. @param name - as it is stored; empty for the app's log */
  rulesOf(name: string): EntryRules;
  /** Aborts when the store is closed. */
  readonly closed: AbortSignal;
}
