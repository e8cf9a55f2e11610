import type { SnapshotAnnouncement } from '../wire/announcements.js';
import { SseClientError } from './client.error.js';
import type { Frame } from './frame.parser.js';

/** What a frame of the app holds. */
export interface EventData {
  readonly data: unknown;
  /** The topic of the envelope, if the data stands in one. */
  readonly topic?: string;
}

/** How the data of the app's frames is read: see the options of `client.follow`. */
interface DataOptions {
  readonly parse?: (text: string, type: string) => unknown;
  readonly envelope?: boolean;
}

/**
 * Reads the data of a frame of the app.
 *
 * @throws SseClientError `data-invalid` if it cannot be parsed
 */
export function readEventData(
  { type, data: text }: Frame,
  { parse = JSON.parse as (text: string) => unknown, envelope }: DataOptions,
): EventData {
  try {
    const data = parse(text!, type);
    return envelope && isEnvelope(data) ? data : { data };
  } catch (cause) {
    const message = `An event of type "${type}" cannot be parsed and is left out: ${text!.slice(0, 100)}`;
    throw new SseClientError('data-invalid', message, { cause });
  }
}

/** Reads the data of a cursor or a reset. Data of a server of another make that is no JSON says nothing. */
export function readControlData(text: string): Partial<SnapshotAnnouncement> & { readonly reason?: string } {
  try {
    return (JSON.parse(text) ?? {}) as Partial<SnapshotAnnouncement>;
  } catch {
    return {};
  }
}

/** False for a snapshot, and for what the app sends itself: they stand in no envelope. */
function isEnvelope(data: unknown): data is EventData {
  return typeof (data as { topic?: unknown } | null)?.topic === 'string' && 'data' in (data as object);
}
