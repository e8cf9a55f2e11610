/// <reference lib="es2024.string" />
import type { StreamFormat, StreamItems } from '../stream/index.js';
import { OptionChecks, show } from '../errors/index.js';
import { toFormat } from '../stream/formats/index.js';
import type { StreamFormatName } from '../stream/formats/index.js';
import type { RunEndReason } from './record/index.js';

/**
 * Makes the source of a run. It is called once, with a signal that aborts when the run has to end. Pass the signal on
 * to the code that produces the items: nothing else stops a generator that is waiting.
 *
 * `recorded` holds the items so far if another instance has handed the run over. Otherwise it is empty.
 */
export type RunSource<T = unknown> = (context: {
  signal: AbortSignal;
  recorded: readonly unknown[];
}) => StreamItems<T> | Promise<StreamItems<T>>;

/** The end of a run, for code that saves its answer. */
export interface RunEnd {
  readonly id: string;
  /**
   * The key of this run: the same in every call about it, and different from that of every other run. Save the answer
   * under it, so that it is saved once.
   */
  readonly key: string;
  readonly owner?: string;
  /**
   * - `done`: the source came to its end.
   * - `client`: all clients have left, and `onDisconnect` is `'abort'`.
   * - `orphan`: no client was attached for `orphanMs`.
   * - `stop`: the app called `stop()`.
   * - `timeout`: `timeoutMs` or `idleMs` has passed.
   * - `error`: the source failed, the run has reached `maxEvents` or `maxBytes`, or its process has died.
   * - `shutdown`: the app is closing.
   */
  readonly reason: RunEndReason;
  /** The number of events in the answer, without the closing frames. */
  readonly events: number;
  /** UTF-8 bytes of the data of these events. */
  readonly bytes: number;
  /** The error of the source. It is known only on the instance where the source has failed. */
  readonly error?: unknown;
  /**
   * Reads the recorded answer: the data of each event, parsed if it is JSON. Without a format, an event with a type is
   * `{ type, data }`.
   *
   * @throws SseError `log-unavailable`, also if the log has lost a part of the answer; `closed` if it holds the run no
   * more. That is so after `ttlMs`, or after another run with its id has begun and all listeners were called.
   */
  items(): Promise<unknown[]>;
}

/** A run whose instance has closed, and which another instance may take over. */
export interface RunHandOver {
  readonly id: string;
  readonly key: string;
  readonly owner?: string;
  /** Reads the items so far, as {@link RunEnd.items} does. They are those that the log holds. */
  items(): Promise<unknown[]>;
}

/** Options of `SseRuns.start`. Times are in milliseconds, 1 to 2_147_483_647. */
export interface SseRunOptions<T = unknown> {
  /**
   * The protocol for items, failures and the end: the name of a built-in format, or a format of your own.
   * @defaultValue none: an item is an event, or data; after a failure an `error` event is sent and the response is cut
   */
  format?: StreamFormatName | StreamFormat<T>;
  /**
   * The user that the run belongs to, 1 to 512 characters. The owner is part of the run's name: two owners may use the
   * same id for two runs, and a run is found only with its owner. Ids mostly come from clients: without an owner, every
   * client that knows an id can read the answer. Use `SseRuns.of(owner)` to set the owner once for all calls.
   */
  owner?: string;
  /**
   * What happens to an ended run with the same id and owner: it is replaced, or it is kept until it expires. With
   * `'keep'`, a client that repeats its request, for example after a network failure, gets the existing answer: the
   * model is not paid twice.
   * @defaultValue `'replace'`
   */
  ifEnded?: 'replace' | 'keep';
  /**
   * Identifies the request that starts the run, 1 to 512 characters, such as a random value that the client has made. A
   * run that has ended is kept if it was started with the same key, whatever `ifEnded` says: a chat may have one id for
   * all its questions, and a question that is sent twice is answered once.
   * @defaultValue none
   */
  idempotencyKey?: string;
  /**
   * What happens when the last client on any instance has left. `'continue'`: the run continues for `orphanMs`.
   * `'abort'`: the run ends at once, even if the client is only reloading its page.
   * @defaultValue `'continue'`
   */
  onDisconnect?: 'continue' | 'abort';
  /**
   * Milliseconds without a client on any instance after which the run is aborted. The time before the first client
   * counts as well. `false`: no limit.
   * @defaultValue 60_000
   */
  orphanMs?: number | false;
  /**
   * Milliseconds that the whole run may take. `false`: no limit.
   * @defaultValue 900_000
   */
  timeoutMs?: number | false;
  /**
   * Milliseconds that the source may take for the next item. The time during which the log or `pauseForClients` pauses
   * the source does not count. `false`: no limit.
   * @defaultValue 300_000
   */
  idleMs?: number | false;
  /**
   * Milliseconds for which clients can still get the answer after its end. The least is three times `leaseMs`: a
   * shorter time is raised to it.
   * @defaultValue 300_000
   */
  ttlMs?: number;
  /**
   * The most events that a run may record, at least 1. With more, the run ends as an `error`.
   * @defaultValue 50_000
   */
  maxEvents?: number;
  /**
   * The most UTF-8 bytes of data that a run may record, at least 1. With more, the run ends as an `error`.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxBytes?: number;
  /**
   * Whether the source waits for the slowest client on this instance. An Observable cannot be paused.
   * @defaultValue false: the source waits for the log alone, and a slow client reads from the log
   */
  pauseForClients?: boolean;
  /**
   * What happens when the app closes: the run ends, or it is handed over, and another instance may start it again. See
   * `SseRuns.onHandOver`.
   * @defaultValue `'end'`
   */
  onShutdown?: 'end' | 'hand-over';
  /**
   * Called when the run has ended, on the instance that produced it. It is not called if that instance dies, or if
   * another instance has ended the run. Use `SseRuns.onEnd` for answers that must not be lost. If it throws, it is
   * called again after 1, 5 and 30 seconds.
   */
  onEnd?: (end: RunEnd) => unknown;
}

/** What `runs.start` was given, checked and with its defaults. */
export interface StartSettings {
  readonly formatName: StreamFormatName | undefined;
  readonly format: StreamFormat | undefined;
  readonly owner: string | undefined;
  readonly ifEnded: 'replace' | 'keep';
  readonly idempotencyKey: string | undefined;
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
  'idempotencyKey',
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

/**
 * Checks the options of `runs.start` and adds the defaults.
 *
 * @throws SseError `options-invalid`
 */
export function startSettings(options: SseRunOptions): StartSettings {
  checks.refuseUnknown(options, FIELDS);
  const { format, owner, idempotencyKey } = options;
  if (owner !== undefined) {
    checkRunOwner(owner);
  }
  if (idempotencyKey !== undefined) {
    checkName('The idempotencyKey', idempotencyKey, 'idempotencyKey');
  }
  return {
    formatName: typeof format === 'string' ? format : undefined,
    format: format === undefined ? undefined : toFormat(format),
    owner,
    ifEnded: checks.oneOf('ifEnded', options.ifEnded, ['replace', 'keep']),
    idempotencyKey,
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

/**
 * Refuses half a surrogate pair, which has no UTF-8: an engine would keep two names that differ by it under one key.
 */
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
