/** A reader of a log that writes to a response: the topics that its client follows, or a run. */
export interface Feed {
  /** Whether it has something to deliver. What the app sends must wait until then. */
  readonly isBehind: boolean;
  /** The socket takes no more. */
  onFull(): void;
  /** The socket takes more again. */
  onDrain(): void;
  /** The response takes no more. */
  onClosed(): void;
}
