import type { EventLog, RelayPlace, RelayTarget } from '../../log/index.js';
import { pause } from '../../time/index.js';
import { formatPosition, parsePosition } from '../../wire/index.js';
import { nextStep } from './relay-step.js';
import type { RelayStep } from './relay-step.js';
import type { RelayedPublishes } from './relayed-publishes.js';

/** The parts of a relay. */
export interface RelayOptions {
  readonly source: Pick<EventLog, 'page'>;
  readonly target: RelayTarget;
  readonly publishes: Pick<RelayedPublishes, 'onTaken' | 'onPlace'>;
  /** Called with what is wrong, after each failure; with undefined when relaying works. */
  readonly onState: (trouble: unknown) => void;
  /** Logs a loss of events. */
  readonly warn: (message: string) => void;
}

/** How often an instance checks for events to relay: the one that published them may have stopped before it did so. */
const CHECK_MS = 1_000;
const AGAIN_MS = 250;
const CONFIRM_MS = 500;
const LOSSES = {
  trimmed:
    'Events were deleted from the outbox in PostgreSQL before they were relayed: the log was away for longer than ' +
    'maxEvents and maxAgeMs of postgresOutbox() last. Clients get a reset.',
  diverged:
    'The outbox in PostgreSQL lacks events that were relayed already, or is another one: after a failover, or with a ' +
    'backup that was restored. The log is emptied and gets what the outbox has, and clients get a reset.',
};

/**
 * Relays events from the log that orders them to the app's log. Each instance has a relay, and none has a lock: the
 * target takes events only after those before them. A relay runs when this process has published, and once a second.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #closed = new AbortController();
  /** The place of the target; undefined if it may have moved. */
  #place: RelayPlace | undefined;
  /** A place that the source contradicts, and since when. */
  #suspicion: { readonly seen: string; readonly since: number } | undefined;
  #isDue = false;
  #isNoteDue = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Relays what is left, and checks for more once a second. */
  start(): void {
    if (this.#timer || this.#closed.signal.aborted) {
      return;
    }
    this.#timer = setInterval(() => {
      // The target may have fallen back to an older state meanwhile.
      this.#place = undefined;
      this.#isNoteDue = true;
      this.wake();
    }, CHECK_MS);
    this.wake();
  }

  /** Relays soon: the source may have more. */
  wake(): void {
    this.#isDue = true;
    if (!this.#closed.signal.aborted) {
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
    }
  }

  /** Stops it. Resolves when the request that is under way has ended. */
  async close(): Promise<void> {
    this.#closed.abort();
    clearInterval(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (this.#isDue && !signal.aborted) {
      this.#isDue = false;
      try {
        while (!signal.aborted && (await this.#round())) {
          // Until nothing is left.
        }
        this.#options.onState(undefined);
      } catch (error) {
        this.#place = undefined;
        this.#isDue = true;
        if (!signal.aborted) {
          this.#options.onState(error);
          await pause(AGAIN_MS, signal);
        }
      }
    }
  }

  /** @returns whether there may be more to relay */
  async #round(): Promise<boolean> {
    const { source, target } = this.#options;
    const isFresh = this.#place === undefined;
    const place = (this.#place ??= await target.place());
    if (isFresh) {
      await this.#onPlace(place);
    }
    const step = await nextStep(source, place);
    if (!(step.kind === 'renew' && step.why === 'diverged')) {
      this.#suspicion = undefined;
    }
    if (step.kind === 'rest') {
      if (this.#isNoteDue) {
        this.#isNoteDue = false;
        await target.note(place);
      }
      return false;
    }
    if (step.kind === 'take') {
      await this.#take(step, place);
      return true;
    }
    this.#place = undefined;
    if (step.why === 'diverged' && !this.#isConfirmed(place)) {
      return false;
    }
    await target.renew(place, step);
    this.#options.warn(LOSSES[step.why]);
    return true;
  }

  /** A standby that has not caught up yet looks like a loss for a moment: it must be seen twice in a row. */
  #isConfirmed({ epoch, source }: RelayPlace): boolean {
    const seen = `${epoch} ${source}`;
    const now = performance.now();
    if (this.#suspicion?.seen !== seen) {
      this.#suspicion = { seen, since: now };
    }
    return now - this.#suspicion.since >= CONFIRM_MS;
  }

  async #onPlace({ source }: RelayPlace): Promise<void> {
    const at = source === undefined ? undefined : parsePosition(source);
    if (at) {
      await this.#options.publishes.onPlace(source!, at.sequence);
    }
  }

  async #take({ batch }: Extract<RelayStep, { kind: 'take' }>, place: RelayPlace): Promise<void> {
    const { target, publishes } = this.#options;
    // Even if this fails, the target may have taken some of them.
    this.#place = undefined;
    const appended = await target.take(batch, place);
    if (!appended) {
      return;
    }
    const { epoch, records } = appended;
    const { sequence, nonce } = batch.records[records.length - 1]!;
    if (records.length === batch.records.length) {
      this.#place = { epoch, source: formatPosition({ epoch: batch.epoch, sequence, nonce }) };
    }
    publishes.onTaken(appended);
  }
}
