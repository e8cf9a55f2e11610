/// <reference lib="es2024.string" />
import type { StreamFormat, StreamItems } from '../stream/index.js';
import { OptionChecks, show } from '../errors/index.js';
import { toFormat } from '../stream/formats/index.js';
import type { StreamFormatName } from '../stream/formats/index.js';
import type { RunEndReason } from './record/index.js';

/**
 * Makes what a run streams: called once, with a signal that aborts when the run is to end. Hand the
 * signal to whatever produces, since a generator that waits can be stopped by nothing else.
 *
 * `recorded` holds the items so far of a run that another instance has handed over; else it is empty.
 */
export type RunSource<T = unknown> = (context: {
  signal: AbortSignal;
  recorded: readonly unknown[];
}) => StreamItems<T> | Promise<StreamItems<T>>;

/** How a run ended, for whoever saves its answer. */
export interface RunEnd {
  readonly id: string;
  /** The same for every call about this run, and of no other: what to save the answer under, so that it is saved once. */
  readonly key: string;
  readonly owner?: string;
  /**
   * - `done`: the source came to its end.
   * - `client`: all clients have left, and `onDisconnect` is `'abort'`.
   * - `orphan`: nobody was attached for `orphanMs`.
   * - `stop`: somebody called `stop()`.
   * - `timeout`: `timeoutMs` or `idleMs` has passed.
   * - `error`: the source failed, the run has reached `maxEvents` or `maxBytes`, or its process is gone.
   * - `shutdown`: the app is closing.
   */
  readonly reason: RunEndReason;
  /** Of the answer; what tells the end does not count. */
  readonly events: number;
  /** UTF-8 bytes of their data. */
  readonly bytes: number;
  /** What the source failed with, where that is known: on the instance where it did. */
  readonly error?: unknown;
  /**
   * The answer as it was recorded: the data of each event, parsed where it is JSON; without a format, an
   * event that has a type as `{ type, data }`.
   *
   * @throws SseError `log-unavailable`; `closed` where the run is gone from the log, as it may be after its
   * `ttlMs`, or when another has its id and nobody is told of this one any more
   */
  items(): Promise<unknown[]>;
}

/** A run whose instance has left, and which another may go on with. */
export interface RunHandOver {
  readonly id: string;
  readonly key: string;
  readonly owner?: string;
  /** The items so far, as {@link RunEnd.items}. */
  items(): Promise<unknown[]>;
}

/** Options of `SseRuns.start`. Milliseconds are 1 to 2_147_483_647. */
export interface SseRunOptions<T = unknown> {
  /**
   * The protocol in which items, failures and the end are told: one by name, or one's own.
   * @defaultValue none: an item is an event, or data; a failure is an `error` event and a cut
   */
  format?: StreamFormatName | StreamFormat<T>;
  /**
   * The user that the run belongs to, 1 to 512 characters. It is part of the run's name: two owners' runs with one id
   * are two runs, and a run is found with its owner alone. Ids mostly come from clients: without an owner, a client
   * that knows an id reads the answer. `SseRuns.of(owner)` gives it once for all calls.
   */
  owner?: string;
  /**
   * What becomes of a run that has ended under the same id and owner: it is replaced, or kept as long as it can be had.
   * With `'keep'` a client that repeats its request, as after a loss of the network, gets the answer that there is, and
   * the model is not paid twice.
   * @defaultValue `'replace'`
   */
  ifEnded?: 'replace' | 'keep';
  /**
   * What happens when the last client has left, on whichever instance: the run goes on, for `orphanMs`; or it is
   * aborted at once, also where that client is only reloading its page.
   * @defaultValue `'continue'`
   */
  onDisconnect?: 'continue' | 'abort';
  /**
   * Milliseconds without any client, on whichever instance, after which the run is aborted; also before
   * the first one. `false`: it goes on to its end.
   * @defaultValue 60_000
   */
  orphanMs?: number | false;
  /**
   * Milliseconds that it may take in all. `false`: as many as it takes.
   * @defaultValue 900_000
   */
  timeoutMs?: number | false;
  /**
   * Milliseconds that the source may take for the next item, not counting those in which the log, or
   * `pauseForClients`, holds it. `false`: as many as it takes.
   * @defaultValue 300_000
   */
  idleMs?: number | false;
  /**
   * Milliseconds for which the answer can be had after its end, at least: it is kept for three times `leaseMs` in any case.
   * @defaultValue 300_000
   */
  ttlMs?: number;
  /**
   * Events that are recorded; with more the run ends as an `error`. At least 1.
   * @defaultValue 50_000
   */
  maxEvents?: number;
  /**
   * UTF-8 bytes of their data; with more the run ends as an `error`. At least 1.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxBytes?: number;
  /**
   * Whether the source is pulled as the slowest client on this instance reads. An Observable cannot be paused.
   * @defaultValue false: it is pulled as the log takes it, and a slow client reads from there
   */
  pauseForClients?: boolean;
  /**
   * Whether the run ends when the app closes, or is left to be started again by another instance: see
   * `SseRuns.onHandOver`.
   * @defaultValue `'end'`
   */
  onShutdown?: 'end' | 'hand-over';
  /**
   * Called when the run has ended, by the process that makes it: not where that dies, or another has noticed the
   * end before it. What must not be lost belongs into `SseRuns.onEnd`. Where it throws it is called again, after 1, 5 and 30 s.
   */
  onEnd?: (end: RunEnd) => unknown;
}

/** The same, checked and with defaults. */
export interface StartSettings {
  readonly formatName: StreamFormatName | undefined;
  readonly format: StreamFormat | undefined;
  readonly owner: string | undefined;
  readonly ifEnded: 'replace' | 'keep';
  readonly onDisconnect: 'continue' | 'abort';
  readonly orphanMs: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly idleMs: number | undefined;
  readonly ttlMs: number;
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly pauseForClients: boolean;
  readonly onShutdown: 'end' | 'hand-over';
  readonly onEnd: ((end: RunEnd) => unknown) | undefined;
}

const FIELDS = [
  'format',
  'owner',
  'ifEnded',
  'onDisconnect',
  'orphanMs',
  'timeoutMs',
  'idleMs',
  'ttlMs',
  'maxEvents',
  'maxBytes',
  'pauseForClients',
  'onShutdown',
  'onEnd',
];
const MAX_NAME_LENGTH = 512;
const checks = new OptionChecks('runs.start()');

/** @throws SseError `options-invalid` */
export function startSettings(options: SseRunOptions): StartSettings {
  checks.refuseUnknown(options, FIELDS);
  const { format, owner } = options;
  if (owner !== undefined) {
    checkRunOwner(owner);
  }
  return {
    formatName: typeof format === 'string' ? format : undefined,
    format: format === undefined ? undefined : toFormat(format),
    owner,
    ifEnded: checks.oneOf('ifEnded', options.ifEnded, ['replace', 'keep']),
    onDisconnect: checks.oneOf('onDisconnect', options.onDisconnect, ['continue', 'abort']),
    orphanMs: timerOrNone('orphanMs', options.orphanMs, 60_000),
    timeoutMs: timerOrNone('timeoutMs', options.timeoutMs, 900_000),
    idleMs: timerOrNone('idleMs', options.idleMs, 300_000),
    ttlMs: checks.timer('ttlMs', options.ttlMs, 300_000),
    maxEvents: checks.whole('maxEvents', options.maxEvents) ?? 50_000,
    maxBytes: checks.whole('maxBytes', options.maxBytes) ?? 16_777_216,
    pauseForClients: checks.flag('pauseForClients', options.pauseForClients, false),
    onShutdown: checks.oneOf('onShutdown', options.onShutdown, ['end', 'hand-over']),
    onEnd: checks.callable('onEnd', options.onEnd),
  };
}

/** @throws SseError `options-invalid` */
export function checkRunId(id: unknown): void {
  checkName('The id', id, 'id');
}

/** @throws SseError `options-invalid` */
export function checkRunOwner(owner: unknown): void {
  checkName('The owner', owner, 'owner');
}

/** Half a surrogate pair has no UTF-8: an engine would keep two that differ by it under one key. */
function checkName(what: string, value: unknown, field: string): void {
  if (typeof value !== 'string' || value === '' || value.length > MAX_NAME_LENGTH || !value.isWellFormed()) {
    throw checks.invalid(
      `${what} of a run is a string of 1 to ${MAX_NAME_LENGTH} characters, without half a surrogate pair; got ${show(value)}.`,
      field,
    );
  }
}

function timerOrNone(field: string, value: unknown, otherwise: number): number | undefined {
  return value === false ? undefined : checks.timer(field, value, otherwise);
}
