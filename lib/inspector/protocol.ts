/** What the server and the page of the inspector tell each other. It is compiled for both: it imports nothing. */

/** The lists that the page can ask for. */
export const LISTS = ['connections', 'topics', 'keys', 'runs'] as const;
export type ListName = (typeof LISTS)[number];

/** The orders of connections. */
export const ORDERS = ['newest', 'oldest', 'behind', 'waiting'] as const;
export type Order = (typeof ORDERS)[number];

/** The header that the page sends with each request. A page of another origin cannot, without the app's CORS. */
export const PAGE_HEADER = 'x-sse-inspector';

/** The most rows of a list that are shown at once. */
export const PAGE_ROWS = 50;
/** The most characters of a name, a key or an address in a row. */
export const MAX_TEXT = 200;

/** A list that a page looks at. */
export interface ListQuery {
  readonly list: ListName;
  /** Text that a row has in one of its names; empty for all rows. Case does not matter. */
  readonly filter: string;
  readonly order: Order;
  /** The place of the last row of the page before; empty for the first page. Connections alone have pages. */
  readonly after: string;
}

export interface ConnectionRow {
  readonly kind: 'connections';
  /** The instance's id. */
  readonly instance: string;
  readonly id: string;
  readonly keys: readonly string[];
  readonly route: string;
  readonly address: string;
  readonly ageMs: number;
  readonly queuedBytes: number;
  /** What it follows: patterns, or the id of a run. At most three; `names` says how many there are. */
  readonly follows: readonly string[];
  readonly names: number;
  readonly isBehind: boolean;
  readonly lagEvents: number;
  /** Its place in the order. */
  readonly place: string;
}

export interface TopicRow {
  readonly kind: 'topics';
  readonly name: string;
  readonly followers: number;
  readonly behind: number;
  readonly maxLagEvents: number;
}

export interface KeyRow {
  readonly kind: 'keys';
  readonly key: string;
  readonly connections: number;
  readonly behind: number;
  readonly runs: number;
}

export interface RunRow {
  readonly kind: 'runs';
  readonly instance: string;
  readonly id: string;
  /** Empty if it has none. */
  readonly owner: string;
  readonly isProducedHere: boolean;
  readonly clients: number;
  readonly records: number;
  readonly ageMs: number;
}

export type Row = ConnectionRow | TopicRow | KeyRow | RunRow;

/** The rows of one instance, or of all of them. */
export interface ListPart {
  /** How many there are that the filter leaves, on this page and on others. */
  readonly total: number;
  readonly rows: readonly Row[];
  /** There are more names than an instance counts. */
  readonly isCut: boolean;
}

/** Numbers of an instance, by name. */
export type Figures = Readonly<Record<string, number>>;

/** How an instance stands, as it reports it. */
export interface InstanceReport {
  readonly id: string;
  /** Its host and its process, for people. */
  readonly name: string;
  readonly log: { readonly state: string; readonly reason: string; readonly sinceMs: number };
  readonly isDraining: boolean;
  /** As `sse.metrics` has them: {@link FIGURES}. */
  readonly figures: Figures;
  /** Counts since its start, by group and reason: {@link COUNTS}. */
  readonly counts: Readonly<Record<string, Figures>>;
}

/** The figures of a report. */
export const FIGURES = [
  'connections',
  'flushing',
  'queuedBytes',
  'followers',
  'behind',
  'maxLagEvents',
  'logLagEvents',
  'pendingEvents',
  'runs',
  'revokedKeys',
  'opened',
  'received',
  'sentEvents',
  'sentBytes',
] as const;

/** The groups of counts of a report. */
export const COUNTS = [
  'closed',
  'turnedAway',
  'started',
  'resets',
  'published',
  'losses',
  'runsEnded',
  'limitsReached',
] as const;

/** The event `update` of the stream. */
export interface Update {
  readonly instances: readonly (InstanceReport & {
    /** How long nothing was received from it. */
    readonly silentMs: number;
    /** Whether it serves this page. */
    readonly isHere: boolean;
  })[];
  /** Absent if the page looks at no list. */
  readonly list?: ListPart;
}

/** The event `tail` of the stream of a topic. */
export interface TailedEvent {
  readonly topic: string;
  readonly position: string;
  readonly type: string;
  /** As text, cut after {@link MAX_TAILED} characters. */
  readonly data: string;
  readonly isCut: boolean;
}

/** The most characters of an event's data that are shown. */
export const MAX_TAILED = 4_096;

/** The events of the two streams. */
export interface InspectorEvents {
  update: Update;
  tail: TailedEvent;
  /** Events that were not shown: there were more than a page takes. */
  skipped: { readonly count: number };
  gap: { readonly reason: string };
}
