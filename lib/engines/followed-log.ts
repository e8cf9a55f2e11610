import type { LogHead, LogRecord, LossReason } from '../log/index.js';
import { NO_NONCE } from '../wire/index.js';
import { follows, recordOf } from './entries.js';
import type { EntryRules, LogEntry } from './entries.js';
import { newEpoch } from './identity.js';
import { LogListeners } from './listeners.js';

/** The outcome of a read. */
export interface Taken {
  /** A promise of each listener that does not keep up. It resolves when the listener can take more. */
  readonly busy: readonly Promise<unknown>[];
  /** Whether the place in the log must be verified before the next read. */
  readonly isDoubtful: boolean;
  /** Whether there were entries of other programs. */
  readonly hasForeign: boolean;
}

/** What an engine says of a place in a log. */
export interface SeenPlace {
  readonly head: LogHead;
  /** The entries at the place and after it, at most two, none past the head. */
  readonly next: readonly Pick<LogEntry, 'sequence' | 'nonce' | 'previous'>[];
}

/** What this process knew of a log when it asked the engine for a place. The answer may lack what came later. */
export interface KnownBefore {
  readonly acknowledged: LogHead | undefined;
  readonly hasDiverged: boolean;
}

/**
 * A log that a reader reads, and its place in it.
 *
 * @typeParam Keys - where the log is in the engine
 */
export class FollowedLog<Keys> {
  readonly keys: Keys;
  readonly isNamed: boolean;
  readonly listeners = new LogListeners();
  readonly rules: EntryRules;
  head: LogHead;
  /** The newest acknowledged position that was not read yet. */
  acknowledged: LogHead | undefined;
  /** Whether a read record differs from the acknowledged one. */
  hasDiverged = false;

  constructor(keys: Keys, isNamed: boolean, { head, rules }: { head: LogHead; rules: EntryRules }) {
    this.keys = keys;
    this.isNamed = isNamed;
    this.head = head;
    this.rules = rules;
  }

  acknowledge(place: LogHead): void {
    const known = this.acknowledged;
    if (place.epoch !== this.head.epoch || (known && known.sequence >= place.sequence)) {
      return;
    }
    if (place.sequence > this.head.sequence) {
      this.acknowledged = place;
    } else if (place.sequence === this.head.sequence && place.nonce !== this.head.nonce) {
      this.hasDiverged = true;
    }
  }

  /** Moves the place after reading. */
  goTo(head: LogHead): void {
    this.head = head;
    const known = this.acknowledged;
    if (known && (known.epoch !== head.epoch || known.sequence <= head.sequence)) {
      this.acknowledged = undefined;
    }
  }

  /** Moves the place after a loss, and tells the listeners. */
  reset(head: LogHead, reason: LossReason): void {
    this.hasDiverged = false;
    this.acknowledged = undefined;
    this.goTo(head);
    this.listeners.reset(head, reason);
  }

  /** Ends a named log that is gone, or was replaced. */
  end(): void {
    this.listeners.reset({ epoch: newEpoch(), sequence: 0, nonce: NO_NONCE }, 'epoch');
    this.listeners.clear();
  }

  /** Passes entries that were read to the listeners. */
  take(entries: readonly LogEntry[]): Taken {
    const before: LogRecord[] = [];
    const after: LogRecord[] = [];
    let { head } = this;
    let gap: LogHead | undefined;
    let isDoubtful = false;
    let hasForeign = false;
    for (const entry of entries) {
      if (!follows(entry, head)) {
        // An entry of another program is skipped. The next verification finds out whether our entries are missing.
        isDoubtful = hasForeign = true;
        continue;
      }
      const { sequence, nonce } = entry;
      head = { epoch: head.epoch, sequence, nonce };
      if (this.acknowledged?.sequence === sequence && this.acknowledged.nonce !== nonce) {
        this.hasDiverged = isDoubtful = true;
      }
      const record = recordOf(entry, this.rules);
      if (record) {
        (gap ? after : before).push(record);
      } else {
        // It has a position in the log and is no event: a hole. All holes of a round are reported once.
        gap = head;
        after.length = 0;
        hasForeign = true;
      }
    }
    this.goTo(head);
    return { busy: this.#notify(before, gap, after), isDoubtful, hasForeign };
  }

  #notify(
    before: readonly LogRecord[],
    gap: LogHead | undefined,
    after: readonly LogRecord[],
  ): Promise<unknown>[] {
    return [
      before.length > 0 && this.listeners.notify(before),
      gap && this.listeners.reset(gap, 'trimmed'),
      after.length > 0 && this.listeners.notify(after),
    ].filter((one) => one instanceof Promise);
  }
}

/**
 * Returns the loss by which a log contradicts what this process knew before; undefined if it does not.
 *
 * @param isAllowed - whether its epoch is one that this process may go on with
 */
export function contradictionOf(
  head: LogHead,
  { acknowledged, hasDiverged }: KnownBefore,
  isAllowed: boolean,
): LossReason | undefined {
  if (lacksAcknowledged(head, acknowledged)) {
    return 'regressed';
  }
  if (hasDiverged) {
    return 'diverged';
  }
  return isAllowed ? undefined : 'epoch';
}

/** Returns whether a log lacks events that were acknowledged before the request. */
function lacksAcknowledged(head: LogHead, acknowledged: LogHead | undefined): boolean {
  if (acknowledged?.epoch !== head.epoch) {
    return false;
  }
  const isOther = head.sequence === acknowledged.sequence && head.nonce !== acknowledged.nonce;
  return head.sequence < acknowledged.sequence || isOther;
}

/** Returns why the log does not go on from a place; undefined if it does. */
export function reasonAgainst(
  place: LogHead,
  { head, next: [first, second] }: SeenPlace,
): LossReason | undefined {
  if (head.epoch !== place.epoch) {
    return 'epoch';
  }
  if (head.sequence < place.sequence) {
    return 'regressed';
  }
  if (head.sequence === place.sequence) {
    return head.nonce === place.nonce ? undefined : 'diverged';
  }
  const isAnchor = first?.sequence === place.sequence;
  if (isAnchor && first.nonce !== place.nonce) {
    return 'diverged';
  }
  // The log has entries after the place. If the very next is missing, it was trimmed: a reader would never receive it.
  const next = isAnchor ? second : first;
  if (next?.sequence !== place.sequence + 1) {
    return 'trimmed';
  }
  return follows(next, place) ? undefined : 'diverged';
}
