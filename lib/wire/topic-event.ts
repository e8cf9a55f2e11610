import type { Position } from './position.js';

/** An event of a topic, as code on the server sees it. */
export interface TopicEvent<T = unknown> {
  readonly topic: string;
  readonly position: Position;
  /** Shared by all who look at it: to be read, not written. */
  readonly event: { readonly data: T; readonly type?: string };
}
