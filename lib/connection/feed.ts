/** A reader of a log that writes to a response: the topics that its client follows, or a run. */
export interface Feed {
  /** Whether it has something to deliver. What the app sends must wait until then. */
  readonly isBehind: boolean;
  /** Returns what it reads, and how far it is behind. */
  describe(): FeedDescription;
  /** The socket takes no more. */
  onFull(): void;
  /** The socket takes more again. */
  onDrain(): void;
  /** The response takes no more. */
  onClosed(): void;
}

/** A feed, as the inspector shows it. */
export interface FeedDescription {
  readonly kind: 'topics' | 'run';
  /** The patterns that are followed, or the id of the run. */
  readonly names: readonly string[];
  readonly isBehind: boolean;
  /** How many events of the log come after its place. It may be for some of them only. */
  readonly lagEvents: number;
}
