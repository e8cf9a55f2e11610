import type { EventLog, LogPage, LogRecord, RelayBatch, RelayPlace } from '../../log/index.js';
import { formatPosition, NO_NONCE, parsePosition } from '../../wire/index.js';
import type { PositionParts } from '../../wire/index.js';

/** What a relay does next: nothing, append events of the source, or renew the target: see `RelayTarget`. */
export type RelayStep =
  | { readonly kind: 'rest' }
  | { readonly kind: 'take'; readonly batch: RelayBatch }
  | {
      readonly kind: 'renew';
      /** The next events of the source were deleted before they were relayed; or the source has other events. */
      readonly why: 'trimmed' | 'diverged';
      readonly source: string | undefined;
      readonly keep: boolean;
    };

/** The most events, and the most bytes of more than one, that are relayed in one step. */
const BATCH_EVENTS = 200;
const BATCH_BYTES = 1_048_576;

const REST: RelayStep = { kind: 'rest' };
const DIVERGED: RelayStep = { kind: 'renew', why: 'diverged', source: undefined, keep: false };

/**
 * Reads what comes after a place of the target.
 *
 * The source must still hold the event at the place: this proves that the events of the target came from it. If the
 * source has lost that event, as after a failover, the target holds events that the source lacks. The target is then
 * emptied, gets a new epoch, and takes all events of the source.
 *
 * @throws SseError `log-unavailable`, `closed`
 */
export async function nextStep(source: Pick<EventLog, 'page'>, place: RelayPlace): Promise<RelayStep> {
  if (place.source === undefined) {
    return stepOf(await source.page(1, BATCH_EVENTS));
  }
  const at = parsePosition(place.source);
  if (!at) {
    return DIVERGED;
  }
  const page = await source.page(Math.max(1, at.sequence), BATCH_EVENTS + 1);
  const [first, ...rest] = page.records;
  if (first?.sequence !== at.sequence) {
    return stepWithoutAnchor(page, at);
  }
  if (first.nonce !== at.nonce) {
    return DIVERGED;
  }
  if (rest.length > 0 || page.head === at.sequence) {
    return stepOf({ ...page, records: rest });
  }
  // The next row of the source is no event: another program has written it.
  return stepWithoutAnchor(await source.page(at.sequence + 1, BATCH_EVENTS), { ...at, epoch: page.epoch });
}

/** Finds out what to do if the source does not hold the event at the place. */
function stepWithoutAnchor(page: LogPage, at: PositionParts): RelayStep {
  if (at.sequence > page.head || at.epoch !== page.epoch) {
    return DIVERGED;
  }
  if (at.sequence + 1 === page.first) {
    return stepOf(page);
  }
  const before = { epoch: page.epoch, sequence: page.first - 1, nonce: NO_NONCE };
  return { kind: 'renew', why: 'trimmed', source: formatPosition(before), keep: true };
}

function stepOf({ epoch, records }: LogPage): RelayStep {
  return records.length === 0 ? REST : { kind: 'take', batch: { epoch, records: fitting(records) } };
}

/** Returns the first records, as many as fit into a step; at least one. */
function fitting(records: readonly LogRecord[]): readonly LogRecord[] {
  let bytes = 0;
  const end = records.findIndex(({ data }, index) => (bytes += data.length) > BATCH_BYTES && index > 0);
  return records.slice(0, end === -1 ? BATCH_EVENTS : Math.min(end, BATCH_EVENTS));
}
