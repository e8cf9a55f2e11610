import { RepeatedReport, show } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { KeyCounts } from './key-counts.js';
import { RateLimit } from './rate-limit.js';

/** The limits of this process, with their defaults: see `limits` of the module's options. */
export interface LimitSettings {
  readonly connectionsPerKey: number;
  readonly connectsPerKeyPerMinute: number;
  readonly patternsPerConnection: number;
}

export const DEFAULT_LIMITS: LimitSettings = Object.freeze({
  connectionsPerKey: 2_000,
  connectsPerKeyPerMinute: 10_000,
  patternsPerConnection: 100,
});

/** The name of a limit: its option. */
export type LimitName = keyof LimitSettings;

/** The limits of this process for each key, and how often each was reached. */
export class Limits {
  /** The connections that are open, or whose last bytes are on their way. */
  readonly connections = new KeyCounts();
  readonly #settings: LimitSettings;
  readonly #connects: RateLimit;
  readonly #reports: RepeatedReport;
  readonly #reached = new Map<LimitName, number>();

  constructor(settings: LimitSettings, reporter: Reporter) {
    this.#settings = settings;
    this.#connects = new RateLimit(settings.connectsPerKeyPerMinute);
    this.#reports = new RepeatedReport(reporter);
  }

  /** Returns how often a limit was reached since the start, for operators. */
  timesReached(name: LimitName): number {
    return this.#reached.get(name) ?? 0;
  }

  /** Counts that a limit was reached. */
  count(limit: LimitName): void {
    this.#reached.set(limit, this.timesReached(limit) + 1);
  }

  /**
   * Counts a client that wants to connect.
   *
   * @returns undefined if it may; else the limit that it has reached, and when the key has a free place again, if that
   * is known
   */
  connect(keys: readonly string[]): { readonly limit: LimitName; readonly waitMs: number } | undefined {
    if (keys.length === 0) {
      return undefined;
    }
    const waitMs = this.#connects.waitMs(keys);
    if (waitMs > 0) {
      return this.#refused('connectsPerKeyPerMinute', keys, waitMs);
    }
    this.#connects.take(keys);
    const most = this.#settings.connectionsPerKey;
    return keys.some((key) => this.connections.of(key) >= most)
      ? this.#refused('connectionsPerKey', keys, 0)
      : undefined;
  }

  #refused(limit: LimitName, keys: readonly string[], waitMs: number): { limit: LimitName; waitMs: number } {
    this.count(limit);
    this.#reports.warn(
      limit,
      `A client with the key ${keys.map(show).join(' or ')} has reached limits.${limit} ` +
        `(${this.#settings[limit]}) and was turned away.`,
    );
    return { limit, waitMs };
  }
}
