import { SseError } from '../../errors/index.js';
import type { Appended, EventLog, LogRecord } from '../../log/index.js';
import { closed } from '../index.js';

/** A publish that PostgreSQL has, and the app's log not yet. */
interface PendingPublish {
  /** Its records, as PostgreSQL has them. */
  readonly records: readonly LogRecord[];
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: SseError) => void;
  /** The newest place at which its records were searched for. */
  searchedAt: string | undefined;
}

/** Where a record stands in the app's log. */
interface Place {
  readonly epoch: string;
  readonly sequence: number;
}

/** How many of the newest relayed records are remembered. */
const MOST_PLACES = 2_000;
const PAGE_EVENTS = 500;
/** The most pages in which a record is searched for that another instance has relayed. */
const MOST_PAGES = 10;

/**
 * The direct publishes that wait until they are relayed. A record keeps its nonce on its way, and is found by it.
 */
export class RelayedPublishes {
  readonly #log: Pick<EventLog, 'head' | 'page'>;
  readonly #pending = new Set<PendingPublish>();
  readonly #places = new Map<string, Place>();

  /** @param log - the log to which events are relayed */
  constructor(log: Pick<EventLog, 'head' | 'page'>) {
    this.#log = log;
  }

  /**
   * Waits until the log has records that PostgreSQL has.
   *
   * @param options.why - what is wrong with the relay, if anything
   * @returns the records with their sequences in the log
   * @throws SseError `publish-failed`, `closed`
   */
  wait(
    { records }: Appended,
    { timeoutMs, why }: { timeoutMs: number; why: () => string | undefined },
  ): Promise<Appended> {
    const known = this.#placed(records);
    if (known) {
      return Promise.resolve(known);
    }
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#pending.delete(pending);
      };
      const pending: PendingPublish = {
        records,
        resolve: (appended) => {
          end();
          resolve(appended);
        },
        reject: (error) => {
          end();
          reject(error);
        },
        searchedAt: undefined,
      };
      const timer = setTimeout(() => pending.reject(late(why())), timeoutMs);
      this.#pending.add(pending);
    });
  }

  /** Called when this process has relayed records. */
  onTaken({ epoch, records }: Appended): void {
    for (const record of records) {
      this.#places.set(keyOf(record), { epoch, sequence: record.sequence });
    }
    for (const key of this.#places.keys()) {
      if (this.#places.size <= MOST_PLACES) {
        break;
      }
      this.#places.delete(key);
    }
    this.#settle();
  }

  /**
   * Called with the place of the log in the source. Searches for what another instance has relayed.
   *
   * @throws SseError `log-unavailable`, `closed`
   */
  async onPlace(source: string, sequence: number): Promise<void> {
    const missing = [...this.#pending].filter(
      ({ records, searchedAt }) => records.at(-1)!.sequence <= sequence && searchedAt !== source,
    );
    if (missing.length === 0) {
      return;
    }
    await this.#search(new Set(missing.flatMap(({ records }) => records.map(keyOf))));
    missing.forEach((pending) => (pending.searchedAt = source));
  }

  close(): void {
    for (const pending of this.#pending) {
      pending.reject(closed(false));
    }
  }

  async #search(keys: Set<string>): Promise<void> {
    let { sequence: to } = await this.#log.head();
    let limit = PAGE_EVENTS;
    for (let pages = 0; pages < MOST_PAGES && to > 0 && keys.size > 0; pages += 1) {
      const from = Math.max(1, to - limit + 1);
      const { epoch, records, first } = await this.#log.page(from, to - from + 1);
      const found = records.filter((record) => keys.delete(keyOf(record)));
      this.onTaken({ epoch, records: found });
      const last = records.at(-1)?.sequence ?? to;
      if (last < to) {
        // The page ends early: its events are large. The newest ones fit into a smaller page.
        limit = records.length;
      } else if (first > from) {
        return;
      } else {
        to = from - 1;
      }
    }
  }

  #settle(): void {
    for (const { records, resolve } of this.#pending) {
      const placed = this.#placed(records);
      if (placed) {
        resolve(placed);
      }
    }
  }

  /** Returns the records with their sequences in the log; undefined if one of them is not known there. */
  #placed(records: readonly LogRecord[]): Appended | undefined {
    const placed: LogRecord[] = [];
    let epoch = '';
    for (const record of records) {
      const place = this.#places.get(keyOf(record));
      if (!place) {
        return undefined;
      }
      ({ epoch } = place);
      placed.push({ ...record, sequence: place.sequence });
    }
    return { epoch, records: placed };
  }
}

/** Nonces are random: with the topic, two of the newest records are hardly ever alike. */
function keyOf({ nonce, topic }: LogRecord): string {
  return `${nonce} ${topic}`;
}

function late(why: string | undefined): SseError {
  return new SseError(
    'publish-failed',
    `PostgreSQL has the event, and the log did not take it in time${why === undefined ? '' : ` (${why})`}. ` +
      'It is published when the log takes events again: do not publish it a second time.',
    { isOutcomeKnown: false },
  );
}
