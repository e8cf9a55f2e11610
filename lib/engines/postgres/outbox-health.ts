import { HealthState } from '../index.js';
import type { LogHealth } from '../../log/index.js';

/**
 * The health of a log with an outbox: that of the log, and of the database that orders its events. If the database is
 * away, nothing can be published, and everything is followed.
 */
export class OutboxHealth extends HealthState {
  readonly #log: LogHealth;
  readonly #source: LogHealth;
  readonly #stops: readonly (() => void)[];
  #trouble: string | undefined;

  constructor(log: LogHealth, source: LogHealth) {
    super(log.state);
    this.#log = log;
    this.#source = source;
    const evaluate = () => this.#evaluate();
    this.#stops = [log.onChange(evaluate), source.onChange(evaluate)];
    evaluate();
  }

  /** As it is now: a reason may change without the state. */
  override get reason(): string | undefined {
    const isAway = this.#source.state !== 'ready';
    // A log or a database that is away says itself why nothing is relayed.
    const isKnown = isAway || this.#log.state !== 'ready';
    const reasons = [
      this.#log.reason,
      isAway ? `the outbox: ${this.#source.reason}` : undefined,
      isKnown || this.#trouble === undefined ? undefined : `the outbox is not relayed: ${this.#trouble}`,
    ].filter((reason) => reason !== undefined);
    return reasons.length > 0 ? reasons.join('; ') : undefined;
  }

  /** Called with what is wrong with the relay; with undefined when it works. */
  onRelay(trouble: string | undefined): void {
    this.#trouble = trouble;
    this.#evaluate();
  }

  close(): void {
    this.#stops.forEach((stop) => stop());
  }

  #evaluate(): void {
    const { state } = this.#log;
    const isTroubled = this.#source.state !== 'ready' || this.#trouble !== undefined;
    this.set(state === 'ready' && isTroubled ? 'degraded' : state);
  }
}
