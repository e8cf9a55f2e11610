import 'reflect-metadata';
import { Get, HttpCode, Module, Res, Sse, UseInterceptors } from '@nestjs/common';

type Handler = (...args: never[]) => unknown;

// Not every version of Nest exports its metadata keys in the same place. They are read from what its decorators set on
// a probe.
const [SSE_KEY] = keysOf(Sse('probe')).filter((key) => !keysOf(Get('probe')).includes(key));
const [HTTP_CODE_KEY] = keysOf(HttpCode(200));
const [INTERCEPTORS_KEY] = keysOf(UseInterceptors({ intercept: (_context, next) => next.handle() }));
const [ARGUMENTS_KEY] = argumentKeys();
const [IMPORTS_KEY] = importsKeys();
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

/** Reads the status of `@HttpCode()` of a handler. */
export function httpCodeOf(handler: Handler): number | undefined {
  return Reflect.getMetadata(HTTP_CODE_KEY, handler) as number | undefined;
}

/** Reads the interceptors of `@UseInterceptors()` of a handler or a controller. */
export function interceptorsOf(target: object): unknown[] {
  return (Reflect.getMetadata(INTERCEPTORS_KEY, target) as unknown[] | undefined) ?? [];
}

/** Hides the interceptors that a function inherits from the handler that it stands for. */
export function hideInterceptors(handler: Handler): void {
  Reflect.defineMetadata(INTERCEPTORS_KEY, [], handler);
}

/** Reads what the parameter decorators of a handler have set, and how many arguments they make Nest pass. */
export function argumentsOf(controller: object, name: string): { own: unknown; count: number } {
  const all = Reflect.getMetadata(ARGUMENTS_KEY, controller, name) as
    Record<string, { index: number }> | undefined;
  return {
    own: Reflect.getOwnMetadata(ARGUMENTS_KEY, controller, name) as unknown,
    count: Math.max(0, ...Object.values(all ?? {}).map(({ index }) => index + 1)),
  };
}

/** Restores what the parameter decorators of a handler had set. */
export function restoreArguments(controller: object, name: string, own: unknown): void {
  if (own === undefined) {
    Reflect.deleteMetadata(ARGUMENTS_KEY, controller, name);
  } else {
    Reflect.defineMetadata(ARGUMENTS_KEY, own, controller, name);
  }
}

/** Removes what `@HttpCode()` has set on a handler. */
export function removeHttpCode(handler: Handler): void {
  Reflect.deleteMetadata(HTTP_CODE_KEY, handler);
}

/**
 * Puts interceptors around those that a handler or a controller has or inherits.
 *
 * @returns a function that removes them
 */
export function surround(target: object, outer: unknown[], inner: unknown[] = []): () => void {
  const hadOwn = Reflect.hasOwnMetadata(INTERCEPTORS_KEY, target);
  const added = [...outer, ...inner];
  const withoutAdded = () => interceptorsOf(target).filter((other) => !added.includes(other));
  Reflect.defineMetadata(INTERCEPTORS_KEY, [...outer, ...withoutAdded(), ...inner], target);
  return () => {
    const rest = withoutAdded();
    if (hadOwn) {
      Reflect.defineMetadata(INTERCEPTORS_KEY, rest, target);
    } else {
      Reflect.deleteMetadata(INTERCEPTORS_KEY, target);
    }
  };
}

/** Reads the imports in the `@Module()` of a class. */
export function importsOf(module: object): unknown[] {
  return (Reflect.getMetadata(IMPORTS_KEY, module) as unknown[] | undefined) ?? [];
}

/** Reads the option `maxPendingDataLength` of `@Sse()` of a handler. */
export function maxPendingDataLengthOf(handler: Handler): number | undefined {
  const options: unknown =
    SSE_OPTIONS_KEY === undefined ? undefined : Reflect.getMetadata(SSE_OPTIONS_KEY, handler);
  const length = (options as { [PENDING_LENGTH]?: unknown } | undefined)?.[PENDING_LENGTH];
  // As in Nest, anything but a number counts as missing, and 0 means no limit.
  if (typeof length !== 'number' || Number.isNaN(length)) {
    return undefined;
  }
  return length === 0 ? Infinity : length;
}

function argumentKeys(): unknown[] {
  class Probe {}
  Res()(Probe.prototype, 'probe', 0);
  return Reflect.getMetadataKeys(Probe, 'probe');
}

function importsKeys(): unknown[] {
  class Probe {}
  Module({ imports: [] })(Probe);
  return Reflect.getMetadataKeys(Probe);
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
