import { MASKED_FAILURE } from '../../errors/index.js';
import type { LogEvent, NewRecord } from '../../log/index.js';
import { eventsOf } from '../../stream/index.js';
import type { FormatEvents } from '../../stream/index.js';
import { encodePayload } from '../../wire/index.js';

/**
 * What a record of a run's log is, in the place of its topic.
 *
 * - `begin`: the first record, a {@link RunBegin}.
 * - `item`: an event of the answer; `last`: one with which its format tells the end.
 * - `end`: a {@link RunEnding}. What comes after it is of no client's interest.
 * - `settled`: everyone who is told of the end has been told.
 * - `stop`: somebody wants the run to end.
 * - `here`, `gone`: an instance on which clients are attached, or are no more. These three are for the producer alone:
 *   they are notices, and records only on an engine that makes them so.
 * - `handed-over`: its producer has left it for another; `taken-over`: another goes on, with this token.
 */
export type RecordKind =
  'begin' | 'item' | 'last' | 'end' | 'settled' | 'stop' | 'here' | 'gone' | 'handed-over' | 'taken-over';

/** Why a run is over; see `RunEnd.reason`. */
export type RunEndReason = 'done' | 'client' | 'stop' | 'timeout' | 'error' | 'shutdown' | 'orphan';

/** An event as a log holds it, without its place. */
export type RunEvent = Omit<NewRecord, 'topic'>;

/** What is known of a run from its start, on whichever instance. */
export interface RunBegin {
  readonly owner?: string;
  /** By name; absent where the app brought its own, or none. */
  readonly format?: string;
  /** Whether there is one, by name or the app's own. */
  readonly hasFormat: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** What its format says of a producer that is gone, so that any instance can. */
  readonly lost: readonly RunEvent[];
  /** Whether responses are cut after them, since they do not tell that the answer is incomplete. */
  readonly isCut: boolean;
  /** Whether it ends when the last client leaves. */
  readonly isAborted: boolean;
  /** How often an instance with clients says so; absent where it does not matter whether there are any. */
  readonly presenceMs?: number;
  /** Milliseconds since 1970, by the clock of whoever started it. */
  readonly startedAt: number;
}

/** How a run ended. */
export interface RunEnding {
  readonly reason: RunEndReason;
  /** Of the answer; what tells the end does not count. */
  readonly events: number;
  /** UTF-8 bytes of their data. */
  readonly bytes: number;
  /** What a client may know of a failure. */
  readonly failure?: { readonly message: string; readonly status?: number };
  /** Whether responses are cut after the closing frames, which do not tell that the answer is incomplete. */
  readonly isCut: boolean;
  /** Whether nobody is to be told of it. */
  readonly isSettled: boolean;
}

/** The key of the notice that stops a run. That of an instance's own notices is its id. */
export const STOP_KEY = 'stop';

export function controlRecord(
  kind: Exclude<RecordKind, 'item' | 'last'>,
  data: object | string | number | null = null,
): NewRecord {
  return { topic: kind, data: JSON.stringify(data), isJson: true };
}

/**
 * What a format says, as records.
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

/** The content of a `begin`; undefined if it is none: other programs can write to the log, too. */
export function beginOf({ data }: { data: string }): RunBegin | undefined {
  const value = parse(data);
  return isBegin(value) ? value : undefined;
}

/** The content of an `end`. One that another program wrote is the end as well, and no success. */
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

/** The content of a `taken-over`: the token of who goes on. */
export function tokenOf({ data }: { data: string }): number {
  return Number(parse(data));
}

/** The content of a `here` or a `gone`. */
export function instanceOf({ data }: { data: string }): string {
  const value = parse(data);
  return typeof value === 'string' ? value : '';
}

/** What the list of open runs says of one; undefined if it is no entry. */
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
  if (!isObject(value)) return false;
  const { owner, format, hasFormat, headers, lost, isCut, isAborted, presenceMs, startedAt } = value;
  return (
    isAbsentOr('string', owner) &&
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
  if (!isObject(value)) return false;
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

/** What the app finds recorded: the data, or the event where it has a name that the data does not repeat. */
export function itemOf({ type, data, isJson }: RunEvent, hasFormat: boolean): unknown {
  const value: unknown = isJson ? JSON.parse(data) : data;
  return type === undefined || hasFormat ? value : { type, data: value };
}
