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

/** What opening a run needs around it. */
export interface OpeningContext {
  readonly store: EventLogStore;
  readonly caretaker: RunCaretaker;
  readonly publicError: (error: unknown) => PublicError;
  readonly leaseMs: number;
  /** Aborts when the app is closing. */
  readonly closed: AbortSignal;
  /** @throws SseError `closed` once the app is closing */
  readonly refuseIfClosing: () => void;
}

/** A run whose log has begun, and whose producer has not. */
export interface OpenedRun {
  readonly run: KnownRun;
  readonly format: StreamFormat;
  readonly limits: { readonly maxEvents: number; readonly ttlMs: number };
  /** What another producer has made of it before, which has handed it over. */
  readonly before: { readonly items: readonly unknown[]; readonly events: number; readonly bytes: number };
}

// What others say in the log of a run, beside its events.
const CONTROL_RECORDS = 10_000;
const TURN_MS = 25;
const PRESENCE_MS = 10_000;
const LEAST_PRESENCE_MS = 1_000;
const NOTHING = { items: [], events: 0, bytes: 0 };

/**
 * Waits for the turn to make a run.
 *
 * @returns its lease; undefined where one is live that clients can be attached to
 * @throws SseError `run-forbidden` where that one is another's, `log-unavailable`, `closed`
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
    // Who has stopped an answer mostly wants the next, and would be attached to the one that is ending.
    if (state && !state.ending && state.handedOverAt === undefined && !(await isStopRequested(state))) {
      refuseOthers(state.begin, owner);
      return undefined;
    }
    // Somebody is about to begin it, to hand it over, or to finish the one before.
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
 * Begins a run under its lease, in the place of what stood under its name, or goes on with one that was handed over.
 *
 * @returns undefined where one has ended, and is to be kept
 * @throws SseError `run-forbidden` where that is another's, `log-unavailable`, `publish-failed`, `lease-lost`, `closed`
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
    // A format that keeps state has to have seen what was made before.
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
    // Another log has taken its place meanwhile, and is looked at next.
    if (error instanceof SseError && error.code === 'closed') return true;
    throw error;
  }
}

/**
 * Ends what stood under the name before.
 *
 * @returns a run that was left for another to go on with; `kept` where one has ended, and is not to be replaced
 */
async function clearTheWay(
  name: string,
  lease: Lease,
  { owner, ifEnded }: StartSettings,
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
  if (ifEnded === 'keep') {
    // Its log stays, so those who save it may take their time. It never rejects.
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
  const { owner, format, formatName, orphanMs, onDisconnect } = settings;
  // Made by another format: a failure must not change the state of the run's own.
  const { events, isCut } = closingEventsOfRun(newFormat(settings), 'error', publicError(undefined));
  const lost = eventRecords('last', events, { maxEventBytes: Infinity });
  const presenceMs = Math.min(PRESENCE_MS, Math.max(LEAST_PRESENCE_MS, (orphanMs ?? Infinity) / 3));
  return {
    ...(owner === undefined ? {} : { owner }),
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

/** A new one where that is to be had: it may keep state of what it has said. */
function newFormat({ format = PLAIN_FORMAT, formatName }: StartSettings): StreamFormat {
  return formatName ? toFormat(formatName) : format;
}
