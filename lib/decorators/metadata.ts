import 'reflect-metadata';
import { Get, HttpCode, Sse, UseInterceptors } from '@nestjs/common';

/** Where `@SseOptions()` keeps what it was given, on a handler or a controller. */
export const ROUTE_OPTIONS = Symbol.for('nestjs-event-stream:route-options');
/** Says that a handler has a parameter with `@Connection()`. */
export const CONNECTION_PARAMETER = Symbol.for('nestjs-event-stream:connection-parameter');
/** What this package has set on a handler. */
export const PREPARED = Symbol.for('nestjs-event-stream:prepared');

type Handler = (...args: never[]) => unknown;

// Nest exports none of its metadata keys in a place that is there in every version: they are read
// off what its own decorators set.
const [SSE_KEY] = keysOf(Sse('probe')).filter((key) => !keysOf(Get('probe')).includes(key));
const [HTTP_CODE_KEY] = keysOf(HttpCode(200));
const [INTERCEPTORS_KEY] = keysOf(UseInterceptors({ intercept: (_context, next) => next.handle() }));
const PENDING_LENGTH = 'maxPendingDataLength';
const SSE_OPTIONS_KEY = findKey(
  (Sse as (path: string, options: object) => MethodDecorator)('probe', { [PENDING_LENGTH]: 1 }),
  (value) => typeof value === 'object' && value !== null && PENDING_LENGTH in value,
);

/** Whether a handler has `@Sse()`. */
export function isSseHandler(handler: Handler): boolean {
  return Reflect.hasMetadata(SSE_KEY, handler);
}

/** Whether a handler has `@HttpCode()`. */
export function hasHttpCode(handler: Handler): boolean {
  return Reflect.hasMetadata(HTTP_CODE_KEY, handler);
}

/** Takes back what `@HttpCode()` has set on a handler. */
export function removeHttpCode(handler: Handler): void {
  Reflect.deleteMetadata(HTTP_CODE_KEY, handler);
}

/** Takes back one interceptor of those that `@UseInterceptors()` has set on a handler. */
export function removeInterceptor(handler: Handler, interceptor: unknown): void {
  const interceptors = (Reflect.getOwnMetadata(INTERCEPTORS_KEY, handler) as unknown[] | undefined) ?? [];
  const rest = interceptors.filter((other) => other !== interceptor);
  if (rest.length > 0) {
    Reflect.defineMetadata(INTERCEPTORS_KEY, rest, handler);
  } else {
    Reflect.deleteMetadata(INTERCEPTORS_KEY, handler);
  }
}

/** `maxPendingDataLength` of a handler's `@Sse()`. */
export function maxPendingDataLengthOf(handler: Handler): number | undefined {
  const options: unknown =
    SSE_OPTIONS_KEY === undefined ? undefined : Reflect.getMetadata(SSE_OPTIONS_KEY, handler);
  const length = (options as { [PENDING_LENGTH]?: unknown } | undefined)?.[PENDING_LENGTH];
  // As in Nest: what is no number counts as missing, and 0 is no limit.
  if (typeof length !== 'number' || Number.isNaN(length)) {
    return undefined;
  }
  return length === 0 ? Infinity : length;
}

function keysOf(decorate: MethodDecorator): unknown[] {
  return Reflect.getMetadataKeys(probe(decorate));
}

function findKey(decorate: MethodDecorator, test: (value: unknown) => boolean): unknown {
  const handler = probe(decorate);
  return Reflect.getMetadataKeys(handler).find((key) => test(Reflect.getMetadata(key, handler)));
}

function probe(decorate: MethodDecorator): Handler {
  const descriptor: { value: Handler } = { value: () => descriptor };
  decorate({}, 'probe', descriptor);
  return descriptor.value;
}
