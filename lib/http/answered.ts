import { whenEnded } from './ending.js';
import type { RawResponse } from './platform.js';

// Shared by all copies of the package: middleware may load another one than the app.
const STREAM_OPEN = Symbol.for('nestjs-event-stream:stream-open');

/** Calls the callbacks of {@link onceAnswered}, as the headers of an event stream are out. */
export function tellStreamOpen(raw: RawResponse): void {
  raw.emit(STREAM_OPEN);
}

/** Calls back once: when an event stream sends its headers, or another response ends. */
export function onceAnswered(raw: RawResponse, callback: () => void): void {
  const answered = () => {
    removeCallback();
    raw.off(STREAM_OPEN, answered);
    callback();
  };
  const removeCallback = whenEnded(raw, answered);
  raw.on(STREAM_OPEN, answered);
}
