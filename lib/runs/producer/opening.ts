import type { PublicError, StreamFormat } from '../../stream/index.js';
import type { EventLogStore, Lease } from '../../log/index.js';
import { SseError } from '../../errors/index.js';
import { toFormat } from '../../stream/formats/index.js';
import { pause } from '../../time/index.js';
import type { StartSettings } from '../options.js';
import {
  controlRecord,
  eventRecords,
  partsOf,
  readItems,
  readState,
  refuseOthers,
  STOP_KEY,
  takeLease,
} from '../record/index.js';
import type { KnownRun, RunBegin, RunState } from '../record/index.js';
import type { RunCaretaker } from '../settlement/index.js';
import { closingEventsOfRun, PLAIN_FORMAT } from './closing-frames.js';

/** The parts of an instance that are used to open a run. */
export interface OpeningContext {
  readonly store: EventLogStore;
  readonly caretaker: RunCaretaker;
  readonly publicError: (error: unknown) => PublicError;
  readonly leaseMs: number;
  /** Aborts when the app closes. */
  readonly closed: AbortSignal;
  /** @throws SseError `closed` once the app is closing */
  readonly refuseIfClosing: () => void;
}

/** A run whose log has begun, and whose producer has not started yet. */
export interface OpenedRun {
  readonly run: KnownRun;
  readonly format: StreamFormat;
  readonly limits: { readonly maxEvents: number; readonly ttlMs: number };
  /** The items of the former producer, if that has handed the run over. */
  readonly before: { readonly items: readonly unknown[]; readonly events: number; readonly bytes: number };
}

// Room in the log of a run for records beside its events.
const CONTROL_RECORDS = 10_000;
const TURN_MS = 25;
const PRESENCE_MS = 10_000;
const LEAST_PRESENCE_MS = 1_000;
const NOTHING = { items: [], events: 0, bytes: 0 };

/**
 * Waits for the lease of a run.
 *
 * @returns the lease; undefined if a run is live under the name, so that clients can attach to it
 * @throws SseError `run-forbidden` if that run belongs to another owner; `log-unavailable`, `closed`
 */
export async function takeTurn(
  name: string,
  owner: string | undefined,
  { store, leaseMs, closed, refuseIfClosing }: OpeningContext,
): Promise<Lease | undefined> {
  const until = performance.now() + 2 * leaseMs;
  for (;;) {
    const lease = await takeLease(store, name, leaseMs);
    if (lease) {
      return lease;
    }
    const state = await readState(store, name);
    // A client that has just stopped a run mostly wants a new one: it must not be attached to the run that is ending.
    if (state && !state.ending && state.handedOverAt === undefined && !(await isStopRequested(state))) {
      refuseOthers(state.begin, owner);
      return undefined;
    }
    // The lease holder is about to begin the run, to hand it over, or to finish the former one.
    if (performance.now() > until) {
      throw new SseError(
        'log-unavailable',
        `The run could not be started: its lease has been held for ${2 * leaseMs} ms, and nothing came of it.`,
      );
    }
    await pause(TURN_MS, closed);
    refuseIfClosing();
  }
}

/**
 * Begins a run under its lease. It replaces the former run of that name, or takes it over if it was handed over.
 *
 * @returns undefined if the former run has ended and is kept
 * @throws SseError `run-forbidden` if the former run belongs to another owner; `log-unavailable`, `publish-failed`,
 * `lease-lost`, `closed`
 */
export async function openRun(
  name: string,
  lease: Lease,
  settings: StartSettings,
  context: OpeningContext,
): Promise<OpenedRun | undefined> {
  const { store, leaseMs } = context;
  const limits = {
    maxEvents: settings.maxEvents + CONTROL_RECORDS,
    ttlMs: Math.max(settings.ttlMs, 3 * leaseMs),
  };
  const format = newFormat(settings);
  const previous = await clearTheWay(name, lease, settings, context);
  if (previous === 'kept') {
    return undefined;
  }
  if (previous) {
    const before = await readItems(previous);
    // A format that keeps state has to see the former items.
    before.items.forEach((item) => format.encode(item));
    await previous.log.append([controlRecord('taken-over', lease.token)], { lease });
    return { run: previous, format, limits, before };
  }
  const begin = describe(settings, format, context);
  const log = await store.open(name, { ...limits, lease });
  const { epoch } = await log.append([controlRecord('begin', begin)], { lease });
  return { run: { id: partsOf(name).id, name, epoch, begin, log }, format, limits, before: NOTHING };
}

/** @throws SseError `log-unavailable`, `closed` */
async function isStopRequested(state: RunState): Promise<boolean> {
  try {
    return state.isStopRequested || (await state.log.lastNotice(STOP_KEY)) !== undefined;
  } catch (error) {
    // The log was replaced meanwhile. The caller reads the state of the new one next.
    if (error instanceof SseError && error.code === 'closed') {
      return true;
    }
    throw error;
  }
}

/**
 * Ends the former run of a name.
 *
 * @returns the run if it was handed over; `kept` if it has ended and is not replaced
 */
async function clearTheWay(
  name: string,
  lease: Lease,
  { owner, ifEnded, idempotencyKey }: StartSettings,
  { store, caretaker }: OpeningContext,
): Promise<RunState | 'kept' | undefined> {
  const state = await readState(store, name);
  if (state) {
    refuseOthers(state.begin, owner);
  }
  if (!state || (!state.ending && state.handedOverAt !== undefined)) {
    return state;
  }
  const ending = state.ending ?? (await caretaker.recordLoss(state, lease));
  const isSameRequest = idempotencyKey !== undefined && state.begin.idempotencyKey === idempotencyKey;
  if (ifEnded === 'keep' || isSameRequest) {
    // The log stays, so the listeners may take their time. This never rejects.
    void caretaker.settleKept(state, ending);
    return 'kept';
  }
  await caretaker.settleBefore(state, ending);
  return undefined;
}

function describe(
  settings: StartSettings,
  { headers }: StreamFormat,
  { publicError }: OpeningContext,
): RunBegin {
  const { owner, idempotencyKey, format, formatName, orphanMs, onDisconnect } = settings;
  // A format of its own: these closing frames must not change the state of the run's format.
  const { events, isCut } = closingEventsOfRun(newFormat(settings), 'error', publicError(undefined));
  const lost = eventRecords('last', events, { maxEventBytes: Infinity });
  const presenceMs = Math.min(PRESENCE_MS, Math.max(LEAST_PRESENCE_MS, (orphanMs ?? Infinity) / 3));
  return {
    ...(owner === undefined ? {} : { owner }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(formatName === undefined ? {} : { format: formatName }),
    hasFormat: format !== undefined,
    ...(headers ? { headers } : {}),
    lost: lost.map(({ topic: _topic, ...event }) => event),
    isCut,
    isAborted: onDisconnect === 'abort',
    ...(onDisconnect === 'abort' || orphanMs !== undefined ? { presenceMs } : {}),
    startedAt: Date.now(),
  };
}

/** Makes the format of a run: a new one if it is built in, since it may keep state. */
function newFormat({ format = PLAIN_FORMAT, formatName }: StartSettings): StreamFormat {
  return formatName ? toFormat(formatName) : format;
}
