import { RepeatedReport, show } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { KeyCounts } from './key-counts.js';
import { RateLimit } from './rate-limit.js';

/** The limits of this process, with their defaults: see `limits` of the module's options. */
export interface LimitSettings {
  readonly connectionsPerKey: number;
  readonly connectsPerKeyPerMinute: number;
  readonly patternsPerConnection: number;
  readonly waitingPerSocket: number;
}

export const DEFAULT_LIMITS: LimitSettings = Object.freeze({
  connectionsPerKey: 2_000,
  connectsPerKeyPerMinute: 10_000,
  patternsPerConnection: 100,
  waitingPerSocket: 100,
});

/** The name of a limit: its option. */
export type LimitName = keyof LimitSettings;

/** A limit that a client has reached. */
export interface ReachedLimit {
  readonly limit: LimitName;
  /** Milliseconds until the key may try again, if that is known; else 0. */
  readonly waitMs: number;
}

/** The limits of this process for each key, and how often each was reached. */
export class Limits {
  /** The connections that are open, or whose last bytes are on their way. */
  readonly connections = new KeyCounts();
  readonly settings: LimitSettings;
  readonly #connects: RateLimit;
  readonly #reports: RepeatedReport;
  readonly #reached = new Map<LimitName, number>();

  constructor(settings: LimitSettings, reporter: Reporter) {
    this.settings = settings;
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
   * @returns the limit that its key has reached; undefined if it may connect
   */
  connect(keys: readonly string[]): ReachedLimit | undefined {
    const waitMs = this.#connects.waitMs(keys);
    if (waitMs > 0) {
      return this.#refused('connectsPerKeyPerMinute', keys, waitMs);
    }
    this.#connects.take(keys);
    return undefined;
  }

  /**
   * Checks whether there is a place for a further connection of the keys.
   *
   * @returns the limit that a key has reached; undefined if there is a place
   */
  place(keys: readonly string[]): ReachedLimit | undefined {
    const most = this.settings.connectionsPerKey;
    return keys.some((key) => this.connections.of(key) >= most)
      ? this.#refused('connectionsPerKey', keys, 0)
      : undefined;
  }

  /** A client has sent too many requests behind a stream, and its socket is closed. */
  onSocketFull(route: string): void {
    this.count('waitingPerSocket');
    this.#reports.warn(
      'waitingPerSocket',
      `A client of ${route} has sent more than ${this.settings.waitingPerSocket} requests behind a stream on one socket, ` +
        'which is limits.waitingPerSocket. The socket was closed.',
    );
  }

  #refused(limit: LimitName, keys: readonly string[], waitMs: number): ReachedLimit {
    this.count(limit);
    this.#reports.warn(
      limit,
      `A client with the key ${keys.map(show).join(' or ')} has reached limits.${limit} ` +
        `(${this.settings[limit]}) and was turned away.`,
    );
    return { limit, waitMs };
  }
}
