import type { Position } from './position.js';

/** An event of a topic, as code on the server receives it. */
export interface TopicEvent<Event = { readonly data: unknown; readonly type?: string }> {
  readonly topic: string;
  readonly position: Position;
  /** Frozen: all receivers share it. */
  readonly event: Event;
}

/** A topic or a pattern with typed events: data by event type. */
export interface TypedPattern<Events extends object> {
  readonly pattern: string;
  /** Never set. It carries the type. */
  readonly events?: Events;
}

/** An event of a typed topic. An event without a type is a `message`. */
export type TypedEvent<Events extends object> = {
  [Type in keyof Events & string]: Type extends 'message'
    ? { readonly type?: Type; readonly data: Events[Type] }
    : { readonly type: Type; readonly data: Events[Type] };
}[keyof Events & string];
