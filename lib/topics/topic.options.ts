import type { FollowFrom, FollowOptions } from '../connection/index.js';
import { OptionChecks } from '../errors/index.js';
import { parsePosition } from '../wire/index.js';
import type { Position } from '../wire/index.js';
import type { ResetReason } from './topic.settings.js';

/** What is missing for code on the server that follows a pattern: see {@link TopicEventsOptions.onGap}. */
export interface TopicGap {
  readonly reason: ResetReason;
}

/** Options of `SseService.events`. */
export interface TopicEventsOptions {
  /**
   * Where to begin: at `'now'`, at the `'earliest'` event that the log holds, after a position, or with the events of
   * the last `agoMs` milliseconds.
   * @defaultValue `'now'`; with `to` it is `'earliest'`
   */
  from?: FollowFrom;
  /**
   * Where to end. The Observable completes after the event at that position, or for `'head'` after the last event that
   * the log held when the app subscribed. It fails while the log is away, as `log-unavailable` or `closed`.
   * @defaultValue none: it goes on until the app closes
   */
  to?: 'head' | (Position & {});
  /**
   * Called if events are missing that cannot be replayed, before the first event after them. Fetch anew what you
   * derive from the events; what follows is complete again. After `trimmed` and `epoch` that is all that the log
   * holds, after anything else what comes.
   * @defaultValue the gap is logged as a warning
   */
  onGap?: (gap: TopicGap) => void;
}

const FOLLOW_FIELDS = ['from', 'snapshot', 'filter', 'latest', 'envelope', 'presence'];
const EVENTS_FIELDS = ['from', 'to', 'onGap'];
const followChecks = new OptionChecks('follow()');
const eventsChecks = new OptionChecks('events()');

/** @throws SseError `options-invalid` */
export function checkFollowOptions(options: FollowOptions): void {
  followChecks.refuseUnknown(options, FOLLOW_FIELDS);
  const { from, snapshot, filter, latest, envelope } = options;
  checkFrom(followChecks, from);
  for (const [field, callback] of Object.entries({ snapshot, filter, latest })) {
    followChecks.callable(field, callback);
  }
  followChecks.flag('envelope', envelope, false);
}

/** @throws SseError `options-invalid` */
export function checkEventsOptions(options: TopicEventsOptions): void {
  eventsChecks.refuseUnknown(options, EVENTS_FIELDS);
  const { from, to, onGap } = options;
  checkFrom(eventsChecks, from);
  if (to !== undefined && to !== 'head' && !isPosition(to)) {
    throw eventsChecks.refusal('to', "'head' or a position, as publish() resolves with it", to);
  }
  eventsChecks.callable('onGap', onGap);
}

/** Refuses a misspelt word: taken for a position, it would be a `reset` for each new client. */
function checkFrom(checks: OptionChecks, from: unknown): void {
  if (from !== undefined && from !== 'now' && from !== 'earliest' && !isPosition(from) && !isAgo(from)) {
    throw checks.refusal(
      'from',
      "'now', 'earliest', a position, as publish() resolves with it, or { agoMs } with milliseconds, 0 or more",
      from,
    );
  }
}

function isPosition(value: unknown): value is Position {
  return typeof value === 'string' && parsePosition(value) !== undefined;
}

function isAgo(value: unknown): boolean {
  const agoMs = (value as { agoMs?: unknown } | null)?.agoMs;
  return typeof agoMs === 'number' && agoMs >= 0;
}
