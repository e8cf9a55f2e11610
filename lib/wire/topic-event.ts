import type { Position } from './position.js';

/** An event of a topic, as code on the server sees it. */
export interface TopicEvent<Event = { readonly data: unknown; readonly type?: string }> {
  readonly topic: string;
  readonly position: Position;
  /** Shared by all who look at it: to be read, not written. */
  readonly event: Event;
}

/** A topic or a pattern whose events the compiler knows: by type, the data of each. */
export interface TypedPattern<Events extends object> {
  readonly pattern: string;
  /** Never there: it carries the type. */
  readonly events?: Events;
}

/** The events of a typed topic; `message` is the one without a type. */
export type TypedEvent<Events extends object> = {
  [Type in keyof Events & string]: Type extends 'message'
    ? { readonly type?: Type; readonly data: Events[Type] }
    : { readonly type: Type; readonly data: Events[Type] };
}[keyof Events & string];
