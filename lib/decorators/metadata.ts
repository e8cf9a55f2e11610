/** Where `@SseOptions()` keeps what it was given, on a handler or a controller. */
export const ROUTE_OPTIONS = Symbol.for('nestjs-event-stream:route-options');
/** Says that a handler has a parameter with `@Connection()`. */
export const CONNECTION_PARAMETER = Symbol.for('nestjs-event-stream:connection-parameter');
/** Where, on a handler that serves itself, its client can be let in before it is called. */
export const ADMISSION = Symbol.for('nestjs-event-stream:admission');
