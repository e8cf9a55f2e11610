import { newEpoch } from '../index.js';
import type { LogKnowledge, SeenHead } from '../index.js';
import { failureOf, PostgresFailure } from './failure.js';
import { DRAIN_COMMITS } from './functions/index.js';
import type { PostgresLink } from './link.js';
import type { PostgresSettings } from './options.js';
import { seenOf } from './replies.js';
import type { SeenLog } from './replies.js';

const SWEEP_MS = 10_000;

/** What an instance does for the app's log once a second: it takes events out of the outbox, and deletes what is over. */
export class Upkeep {
  readonly #link: PostgresLink;
  readonly #settings: PostgresSettings;
  readonly #knowledge: LogKnowledge;
  readonly #onMore: (id: string) => void;
  #sweptAt = -Infinity;

  /** @param options.onMore - called with the id of the log when it has got events out of the outbox */
  constructor(
    link: PostgresLink,
    options: { settings: PostgresSettings; knowledge: LogKnowledge; onMore: (id: string) => void },
  ) {
    this.#link = link;
    this.#settings = options.settings;
    this.#knowledge = options.knowledge;
    this.#onMore = options.onMore;
  }

  async run(): Promise<SeenHead> {
    await this.drain();
    if (performance.now() - this.#sweptAt >= SWEEP_MS) {
      this.#sweptAt = performance.now();
      const { log, maxAgeMs } = this.#settings;
      await this.#link.call('sweep', [log, maxAgeMs === undefined ? '' : String(maxAgeMs)]);
    }
    return (await this.look()).head;
  }

  /** Takes the committed events out of the outbox. @returns of how many transactions */
  async drain(): Promise<number> {
    const { log, maxEvents } = this.#settings;
    for (let taken = 0; ;) {
      const reply = await this.#mending(() => this.#link.call('drain', [log, String(maxEvents)]));
      if (reply === null) {
        await this.look();
        continue;
      }
      const [commits, id] = JSON.parse(reply) as [string, string];
      taken += Number(commits);
      if (Number(commits) > 0) {
        this.#onMore(id);
      }
      if (Number(commits) < DRAIN_COMMITS) {
        return taken;
      }
    }
  }

  /**
   * Reads the head of the app's log, and begins it if there is none. A log that was last on another line of data gets
   * another epoch: it was copied, restored, or its server was promoted, and may lack its last events.
   */
  async look(): Promise<SeenLog> {
    const { log } = this.#settings;
    const reply = await this.#link.call('look', [log, newEpoch(), this.#knowledge.formerOfNext()]);
    const seen = seenOf(reply ?? '');
    const { wasOn, isOn, head, former } = seen;
    if (wasOn === isOn || wasOn === '' || isOn === '') {
      return seen;
    }
    return this.replaceEpoch(head.epoch, this.#knowledge.formerInPlaceOf(head.epoch, former));
  }

  /** Gives the app's log a new epoch: events stand past its head. Its row was set back, or written by another program. */
  async mend(): Promise<void> {
    const { head, former } = await this.look();
    await this.replaceEpoch(head.epoch, this.#knowledge.formerInPlaceOf(head.epoch, former));
  }

  async replaceEpoch(epoch: string, former: string): Promise<SeenLog> {
    const { log } = this.#settings;
    const next = newEpoch();
    const reply = await this.#link.call('replace_epoch', [log, epoch, next, former]);
    const seen = reply === null ? undefined : seenOf(reply);
    if (!seen || (seen.head.epoch !== next && !this.#knowledge.allows(seen.head.epoch, seen.former))) {
      throw new PostgresFailure('The log has changed meanwhile', { code: CHANGED, mayHaveRun: false });
    }
    return seen;
  }

  /** Tries a call again, once, if an event stands in the place of one that it appends. */
  async #mending<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!failureOf(error).isOfTakenPlace) {
        throw error;
      }
    }
    await this.mend();
    return call();
  }
}

/** PostgreSQL's code for a transaction that must be tried again. */
const CHANGED = '40001';
