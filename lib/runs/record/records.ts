import { MASKED_FAILURE } from '../../errors/index.js';
import type { LogEvent, NewRecord } from '../../log/index.js';
import { eventsOf } from '../../stream/index.js';
import type { FormatEvents } from '../../stream/index.js';
import { encodePayload } from '../../wire/index.js';

/**
 * The kind of a record in the log of a run. It stands in place of the topic.
 *
 * - `begin`: the first record, a {@link RunBegin}.
 * - `item`: an event of the answer; `last`: a closing event.
 * - `end`: a {@link RunEnding}. Later records do not concern clients.
 * - `settled`: all listeners were told of the end.
 * - `stop`: the app wants the run to end.
 * - `here`, `gone`: clients are attached on an instance, or are attached there no more. `stop`, `here` and `gone` are
 *   notices to the producer. They are records only on an engine that makes them so.
 * - `handed-over`: the producer has left the run to another; `taken-over`: another producer goes on, with this token.
 */
export type RecordKind =
  'begin' | 'item' | 'last' | 'end' | 'settled' | 'stop' | 'here' | 'gone' | 'handed-over' | 'taken-over';

/** The reason why a run has ended; see `RunEnd.reason`. */
export type RunEndReason = 'done' | 'client' | 'stop' | 'timeout' | 'error' | 'shutdown' | 'orphan';

/** An event as the log holds it, without its position. */
export type RunEvent = Omit<NewRecord, 'topic'>;

/** The facts about a run that are known from its start, on every instance. */
export interface RunBegin {
  readonly owner?: string;
  /** Identifies the request that has started the run, if the app has given a key. */
  readonly idempotencyKey?: string;
  /** The name of a built-in format; absent if the app has a format of its own, or none. */
  readonly format?: string;
  /** Whether the run has a format, built in or the app's own. */
  readonly hasFormat: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** The closing events for a producer that is gone, so that every instance can send them. */
  readonly lost: readonly RunEvent[];
  /** Whether responses are cut after `lost`, because it does not tell clients that the answer is incomplete. */
  readonly isCut: boolean;
  /** Whether the run ends when the last client leaves. */
  readonly isAborted: boolean;
  /**
   * The interval, in milliseconds, in which an instance tells of its clients; absent if the run goes on without any.
   */
  readonly presenceMs?: number;
  /** Milliseconds since 1970, by the clock of the instance that started the run. */
  readonly startedAt: number;
}

/** The end of a run, as it is recorded. */
export interface RunEnding {
  readonly reason: RunEndReason;
  /** The number of events in the answer, without the closing frames. */
  readonly events: number;
  /** UTF-8 bytes of the data of these events. */
  readonly bytes: number;
  /** The part of a failure that a client may know. */
  readonly failure?: { readonly message: string; readonly status?: number };
  /** Whether responses are cut after the closing frames, because those do not tell that the answer is incomplete. */
  readonly isCut: boolean;
  /** Whether the run is settled from the start: the app did not ask to be told of its end. */
  readonly isSettled: boolean;
}

/** The key of the notice that stops a run. The notices about the clients of an instance have its id as their key. */
export const STOP_KEY = 'stop';

export function controlRecord(
  kind: Exclude<RecordKind, 'item' | 'last'>,
  data: object | string | number | null = null,
): NewRecord {
  return { topic: kind, data: JSON.stringify(data), isJson: true };
}

/**
 * Makes records of the events of a format.
 *
 * @throws SseError `event-invalid`, `event-too-large`
 */
export function eventRecords(
  kind: 'item' | 'last',
  events: FormatEvents,
  limits: { maxEventBytes: number },
): NewRecord[] {
  return eventsOf(events).map((event) => ({ topic: kind, ...encodePayload(event, limits) }));
}

/** Reads a `begin` record. Returns undefined if it is malformed: other programs can write to the log, too. */
export function beginOf({ data }: { data: string }): RunBegin | undefined {
  const value = parse(data);
  return isBegin(value) ? value : undefined;
}

/** Reads an `end` record. A malformed one, written by another program, ends the run as an error. */
export function endingOf({ data }: { data: string }): RunEnding {
  const value = parse(data);
  return isEnding(value)
    ? value
    : {
        reason: 'error',
        events: 0,
        bytes: 0,
        failure: MASKED_FAILURE,
        isCut: true,
        isSettled: true,
      };
}

/**
 * Reads a `taken-over` record: the token of the new producer. Returns NaN, which no producer has, if it is malformed.
 */
export function tokenOf({ data }: { data: string }): number {
  const value = parse(data);
  return typeof value === 'number' ? value : NaN;
}

/** Reads a `here` or a `gone`: the id of the instance. */
export function instanceOf({ data }: { data: string }): string {
  const value = parse(data);
  return typeof value === 'string' ? value : '';
}

/** Reads an entry of the list of open runs. Returns undefined if it is malformed. */
export function openOf({ data }: { data: string }): [id: string, key: string, owner?: string] | undefined {
  const value = parse(data);
  const isEntry = Array.isArray(value) && value.length >= 2 && value.every((one) => typeof one === 'string');
  return isEntry ? (value as [string, string, string?]) : undefined;
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return undefined;
  }
}

const REASONS: readonly unknown[] = ['done', 'client', 'stop', 'timeout', 'error', 'shutdown', 'orphan'];

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isAbsentOr(type: 'string' | 'number' | 'boolean', value: unknown): boolean {
  return value === undefined || typeof value === type;
}

function isBegin(value: unknown): value is RunBegin {
  if (!isObject(value)) {
    return false;
  }
  const { owner, idempotencyKey, format, hasFormat, headers, lost, isCut, isAborted, presenceMs, startedAt } =
    value;
  return (
    isAbsentOr('string', owner) &&
    isAbsentOr('string', idempotencyKey) &&
    isAbsentOr('string', format) &&
    isAbsentOr('boolean', hasFormat) &&
    (headers === undefined || (isObject(headers) && Object.entries(headers).every(isHeader))) &&
    Array.isArray(lost) &&
    lost.every(isEvent) &&
    isAbsentOr('boolean', isCut) &&
    isAbsentOr('boolean', isAborted) &&
    (presenceMs === undefined || (typeof presenceMs === 'number' && presenceMs > 0)) &&
    isAbsentOr('number', startedAt)
  );
}

function isHeader([name, value]: [string, unknown]): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(name) && typeof value === 'string' && !/[\r\n\0]/.test(value);
}

function isEvent(value: unknown): boolean {
  return (
    isObject(value) &&
    typeof value['data'] === 'string' &&
    typeof value['isJson'] === 'boolean' &&
    isAbsentOr('string', value['type'])
  );
}

function isEnding(value: unknown): value is RunEnding {
  if (!isObject(value)) {
    return false;
  }
  const { reason, events, bytes, failure, isCut, isSettled } = value;
  return (
    REASONS.includes(reason) &&
    typeof events === 'number' &&
    typeof bytes === 'number' &&
    typeof isCut === 'boolean' &&
    typeof isSettled === 'boolean' &&
    (failure === undefined ||
      (isObject(failure) &&
        typeof failure['message'] === 'string' &&
        isAbsentOr('number', failure['status'])))
  );
}

export function kindOf({ record }: LogEvent): RecordKind {
  return record.topic as RecordKind;
}

/** Returns an item for the app: the data, or the event with its type if the data does not repeat the type. */
export function itemOf({ type, data, isJson }: RunEvent, hasFormat: boolean): unknown {
  const value: unknown = isJson ? JSON.parse(data) : data;
  return type === undefined || hasFormat ? value : { type, data: value };
}
