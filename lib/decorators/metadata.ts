/** Metadata key of the options of `@SseOptions()`, on a handler or a controller. */
export const ROUTE_OPTIONS = Symbol.for('nestjs-event-stream:route-options');
/** Metadata key that marks a handler with a parameter of `@Connection()`. */
export const CONNECTION_PARAMETER = Symbol.for('nestjs-event-stream:connection-parameter');
/**
 * Metadata key of the function that admits the client of a handler that serves itself, before the handler is called.
 */
export const ADMISSION = Symbol.for('nestjs-event-stream:admission');
