import { RepeatedReport, show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { KeyCounts } from './key-counts.js';
import { RateLimit } from './rate-limit.js';
import { Turns } from './turns.js';

/** The limits of this process, with their defaults: see `limits` of the module's options. */
export interface LimitSettings {
  readonly connectionsPerKey: number;
  readonly connectsPerKeyPerMinute: number;
  readonly patternsPerConnection: number;
  readonly waitingPerSocket: number;
  readonly runsPerKey: number;
  readonly runsPerKeyPerMinute: number;
  readonly replayEventsPerKeyPerMinute: number;
  readonly concurrentReplays: number;
  readonly queuedBytesPerKey: number;
  readonly queuedBytes: number;
  readonly endedRuns: number;
  readonly endedRunsBytes: number;
}

export const DEFAULT_LIMITS: LimitSettings = Object.freeze({
  connectionsPerKey: 2_000,
  connectsPerKeyPerMinute: 10_000,
  patternsPerConnection: 100,
  waitingPerSocket: 100,
  runsPerKey: 100,
  runsPerKeyPerMinute: 200,
  replayEventsPerKeyPerMinute: 1_000_000,
  concurrentReplays: 100,
  queuedBytesPerKey: 256 * 1_048_576,
  queuedBytes: 1_024 * 1_048_576,
  endedRuns: 50_000,
  endedRunsBytes: 256 * 1_048_576,
});

/** The name of a limit: its option. */
export type LimitName = keyof LimitSettings;

/** What happens to a client that has reached a limit, for the log. */
const REFUSED: Partial<Record<LimitName, string>> = {
  connectionsPerKey: 'a client was turned away',
  connectsPerKeyPerMinute: 'a client was turned away',
  runsPerKey: 'a run was not started',
  runsPerKeyPerMinute: 'a run was not started',
  replayEventsPerKeyPerMinute:
    'a client got a reset in place of the events that it missed, or is to come back later',
  queuedBytesPerKey: 'the client that had most to read was closed',
};
/** The longest wait for the log. A client that would wait for longer gets its state sooner by a reset. */
export const MAX_REPLAY_WAIT_MS = 30_000;
/** When a client that found no place for a run may try again: about as long as an answer takes. */
export const RUN_MS = 10_000;

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
  /** The runs that are produced here. */
  readonly runs = new KeyCounts();
  readonly settings: LimitSettings;
  readonly #connects: RateLimit;
  readonly #runStarts: RateLimit;
  readonly #replayed: RateLimit;
  /** Reads of the log below the ring, each for one client. */
  readonly replays: Turns;
  readonly #reports: RepeatedReport;
  /** How often each limit was reached since the start. */
  readonly reached = Object.fromEntries(Object.keys(DEFAULT_LIMITS).map((name) => [name, 0])) as Record<
    LimitName,
    number
  >;

  constructor(settings: LimitSettings, reporter: Reporter) {
    this.settings = settings;
    this.#connects = new RateLimit(settings.connectsPerKeyPerMinute);
    this.#runStarts = new RateLimit(settings.runsPerKeyPerMinute);
    this.#replayed = new RateLimit(settings.replayEventsPerKeyPerMinute);
    this.replays = new Turns(settings.concurrentReplays, () => this.count('concurrentReplays'));
    this.#reports = new RepeatedReport(reporter);
  }

  /** Counts that a limit was reached. */
  count(limit: LimitName): void {
    this.reached[limit] += 1;
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

  /**
   * Takes a place for a run. Call the returned function when the run has ended, or was not started.
   *
   * @throws SseError `run-refused` if a key has reached a limit
   */
  startRun(keys: readonly string[]): (outcome: { wasStarted: boolean }) => void {
    const { runsPerKey } = this.settings;
    const waitMs = this.#runStarts.waitMs(keys);
    if (waitMs > 0) {
      throw runRefused(this.#refused('runsPerKeyPerMinute', keys, waitMs));
    }
    if (keys.some((key) => this.runs.of(key) >= runsPerKey)) {
      throw runRefused(this.#refused('runsPerKey', keys, RUN_MS));
    }
    this.runs.add(keys);
    this.#runStarts.take(keys);
    return ({ wasStarted }) => {
      this.runs.remove(keys);
      if (!wasStarted) {
        this.#runStarts.giveBack(keys);
      }
    };
  }

  /**
   * Reserves events that are about to be read from the log for a client. Return what was not read by
   * {@link giveBackReplay}.
   *
   * @returns milliseconds to wait before they are read; undefined if it would take too long
   */
  reserveReplay(keys: readonly string[], events: number): number | undefined {
    const waitMs = this.#replayed.waitMs(keys);
    if (waitMs > MAX_REPLAY_WAIT_MS) {
      this.#refused('replayEventsPerKeyPerMinute', keys, waitMs);
      return undefined;
    }
    if (waitMs > 0) {
      this.count('replayEventsPerKeyPerMinute');
    }
    this.#replayed.take(keys, events);
    return waitMs;
  }

  /**
   * Checks whether the log may be read for an owner before a client is attached to one of its runs.
   *
   * @throws SseError `run-refused` if the owner's budget of events is used up
   */
  refuseReplay(owner: string): void {
    const waitMs = this.#replayed.waitMs([owner]);
    if (waitMs > 0) {
      const { limit } = this.#refused('replayEventsPerKeyPerMinute', [owner], waitMs);
      throw new SseError(
        'run-refused',
        `The run was not read again: its owner has reached limits.${limit}.`,
        {
          field: `limits.${limit}`,
          retryAfterMs: waitMs,
        },
      );
    }
  }

  /** Counts events that were read for an owner. */
  countReplay(owner: string, events: number): void {
    this.#replayed.take([owner], events);
  }

  /** Gives back reserved events that were not read. */
  giveBackReplay(keys: readonly string[], events: number): void {
    this.#replayed.giveBack(keys, events);
  }

  /** The client with these keys had most to read, and is closed: too much waits for it and others. */
  onQueueFull(limit: 'queuedBytesPerKey' | 'queuedBytes', keys: readonly string[]): void {
    if (limit === 'queuedBytesPerKey') {
      this.#refused(limit, keys, 0);
      return;
    }
    this.count(limit);
    this.#reports.warn(
      limit,
      `More than ${this.settings.queuedBytes} bytes, which is limits.queuedBytes, wait for clients that do not read. ` +
        'The client that had most to read was closed.',
    );
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
      `The key ${keys.map(show).join(' or ')} has reached limits.${limit} (${this.settings[limit]}): ${REFUSED[limit]}.`,
    );
    return { limit, waitMs };
  }
}

function runRefused({ limit, waitMs }: ReachedLimit): SseError {
  return new SseError('run-refused', `The run was not started: its owner has reached limits.${limit}.`, {
    field: `limits.${limit}`,
    retryAfterMs: waitMs,
  });
}
