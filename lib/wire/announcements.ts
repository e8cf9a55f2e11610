/**
 * The media type by which this package's client asks for announcements of the heartbeat and of snapshots. It sends the
 * type in `Accept`, beside `text/event-stream`. Other clients do not send it, and get a stream without announcements.
 * `Accept` needs no preflight across origins.
 */
export const ANNOUNCING_TYPE = 'text/event-stream;announce=1';

/** The header of an answer whose status is that of a run which failed before its first event. Trying again is in vain. */
export const RUN_FAILED_HEADER = 'Sse-Run-Failed';

/** The comment that announces the heartbeat begins with this text. The milliseconds follow. */
const HEARTBEAT_WORD = 'heartbeat ';

/** The query parameter, once for each pattern, in which a client says what it follows beyond what it had before. */
const ADDED_PARAMETER = 'addedTopics';
const MAX_ADDED = 100;

/** Whether a client reads announcements: see {@link ANNOUNCING_TYPE}. */
export function readsAnnouncements(accept: string | undefined): boolean {
  return accept?.includes(ANNOUNCING_TYPE) === true;
}

/** The comment that tells how long the stream is silent at most, as a line. */
export function encodeHeartbeatComment(ms: number): string {
  return `: ${HEARTBEAT_WORD}${ms}\n`;
}

/** The heartbeat that a comment tells, in milliseconds; undefined for any other comment. */
export function readHeartbeatComment(text: string): number | undefined {
  const ms = text.startsWith(HEARTBEAT_WORD) ? Number(text.slice(HEARTBEAT_WORD.length)) : NaN;
  return ms > 0 ? ms : undefined;
}

/**
 * The data of a cursor event to a client that begins: how many snapshots follow, 0 if there are none, and whether they
 * are of added patterns alone. A cursor that refreshes the place has `{}`.
 */
export interface SnapshotAnnouncement {
  readonly snapshots: number;
  /** True if the client goes on exactly, and has got new patterns: the state of the others stands. */
  readonly added?: true;
}

/** The patterns that a request names as new to its client, as they stand in its URL. */
export function readAddedTopics(url = ''): readonly string[] {
  const start = url.indexOf('?');
  return start === -1
    ? []
    : new URLSearchParams(url.slice(start)).getAll(ADDED_PARAMETER).slice(0, MAX_ADDED);
}

/** Adds the patterns to the query of a URL: see {@link readAddedTopics}. */
export function nameAddedTopics(query: URLSearchParams, patterns: readonly string[]): void {
  query.delete(ADDED_PARAMETER);
  patterns.forEach((pattern) => query.append(ADDED_PARAMETER, pattern));
}
