import { HttpCode, Res } from '@nestjs/common';
import {
  argumentsOf,
  hasHttpCode,
  hideInterceptors,
  httpCodeOf,
  removeHttpCode,
  restoreArguments,
  surround,
} from './nest-metadata.js';
import { OutermostStandIn } from './outermost.interceptor.js';
import { ItemsInterceptor } from './items.interceptor.js';

type Handler = (...args: never[]) => unknown;

/** Metadata key of the {@link Injection} of a handler, while apps are starting. */
const INJECTION = Symbol.for('nestjs-event-stream:injection');
/** Metadata key of the {@link Preparation} of a handler or a controller. */
const PREPARED = Symbol.for('nestjs-event-stream:prepared');

/** What was set on a handler or a controller, with a count of the starting apps that need it. */
interface Preparation {
  apps: number;
  readonly undo: () => void;
}

/** Where Nest passes the response to a handler. */
export interface Injection {
  /** Number of arguments that the handler takes, by its decorators. */
  readonly count: number;
  /** Index of the response, behind all arguments that the handler could take. */
  readonly responseAt: number;
}

interface CountedInjection extends Injection {
  /** Number of starting apps that need it. */
  apps: number;
  readonly undo: () => void;
}

/**
 * Sets on a handler what Nest reads when it registers the route: the status 200, the interceptor that unpacks async
 * iterables, and the stand-in of the outermost interceptor. A handler belongs to its class, and so to every app of the
 * process that uses the class: undo the preparation when Nest has registered the route.
 *
 * @returns a function that undoes the preparation, once no other app needs it
 */
export function prepareHandler(prototype: object, name: string, handler: Handler): () => void {
  return prepareOnce(handler, () => {
    // Nest answers a POST with 201, and an EventSource client refuses that.
    const hasSetHttpCode = !hasHttpCode(handler);
    if (hasSetHttpCode) {
      HttpCode(200)(prototype, name, { value: handler });
    }
    const takeInterceptors = surround(handler, [OutermostStandIn], [new ItemsInterceptor()]);
    return () => {
      takeInterceptors();
      if (hasSetHttpCode) {
        removeHttpCode(handler);
      }
    };
  });
}

/**
 * Puts the stand-in of our interceptor before those of a controller, which come before those of its handlers.
 *
 * @returns a function that undoes it, once no other app needs it
 */
export function prepareController(controller: object): () => void {
  return prepareOnce(controller, () => surround(controller, [OutermostStandIn]));
}

/**
 * Makes Nest pass the response to a handler, behind the arguments that it takes. Nest keeps parameters by class, and so
 * for every app of the process that uses the class: undo it when Nest has registered the route.
 */
export function injectResponse(
  controller: abstract new (...args: never[]) => unknown,
  name: string,
  handler: Handler,
): { injection: Injection; undo: () => void } {
  const injection = injectionOf(controller, name) ?? inject(controller, name, handler);
  injection.apps += 1;
  return {
    injection,
    undo: () => {
      injection.apps -= 1;
      if (injection.apps === 0) {
        injection.undo();
      }
    },
  };
}

/**
 * Gives a function the name and the metadata of the handler that it replaces, with the status 200 and without
 * interceptors.
 */
export function standFor(handler: Handler, own: Handler): void {
  resemble(handler, own);
  // Another starting app may have set a status on the handler, and may remove it before Nest reads it.
  HttpCode(httpCodeOf(handler) ?? 200)({}, handler.name, { value: own });
  hideInterceptors(own);
}

/** Gives a function the name and the metadata of a handler that it wraps. */
export function resemble(handler: Handler, own: Handler): void {
  // Nest and its Reflector search the prototypes. A guard of the app may read own metadata only, and without it let
  // every client in.
  Object.setPrototypeOf(own, handler);
  for (const key of Reflect.getMetadataKeys(handler)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), own);
  }
  Object.defineProperty(own, 'name', { value: handler.name, configurable: true });
}

/**
 * Shadows a method of one instance, so that reading it gives another function. The shadow
 * stays if other code, such as a tracer, puts another function on the instance or the prototype meanwhile.
 *
 * @param read - returns what is read in place of the current function
 * @returns a function that removes the shadow
 */
export function shadow(instance: object, name: string, read: (handler: Handler) => unknown): () => void {
  const methods = instance as Record<string, Handler>;
  const wasOwn = Object.hasOwn(instance, name);
  let own = wasOwn ? methods[name] : undefined;
  const get = () => read(own ?? (Object.getPrototypeOf(instance) as typeof methods)[name]!);
  const set = (handler: Handler) => {
    own = handler;
  };
  Object.defineProperty(instance, name, { get, set, configurable: true });
  return () => {
    if (Object.getOwnPropertyDescriptor(instance, name)?.get !== get) {
      return;
    }
    Reflect.deleteProperty(instance, name);
    if (own) {
      methods[name] = own;
    }
  };
}

/** Prepares a target for the first app, and undoes that when the last app needs it no more. */
function prepareOnce(target: object, prepare: () => () => void): () => void {
  let preparation = Reflect.getOwnMetadata(PREPARED, target) as Preparation | undefined;
  if (!preparation) {
    preparation = { apps: 0, undo: prepare() };
    Reflect.defineMetadata(PREPARED, preparation, target);
  }
  const prepared = preparation;
  prepared.apps += 1;
  return () => {
    prepared.apps -= 1;
    if (prepared.apps === 0) {
      Reflect.deleteMetadata(PREPARED, target);
      prepared.undo();
    }
  };
}

function injectionOf(controller: object, name: string): CountedInjection | undefined {
  // A controller that inherits the parameters of a handler has them with the response already injected.
  const isInherited = argumentsOf(controller, name).own === undefined;
  const injection: unknown = isInherited
    ? Reflect.getMetadata(INJECTION, controller, name)
    : Reflect.getOwnMetadata(INJECTION, controller, name);
  return injection as CountedInjection | undefined;
}

function inject(
  controller: abstract new (...args: never[]) => unknown,
  name: string,
  handler: Handler,
): CountedInjection {
  const { own, count } = argumentsOf(controller, name);
  // An app without this module that starts meanwhile passes one argument too many to the handler.
  const responseAt = Math.max(count, handler.length);
  Res()(controller.prototype as object, name, responseAt);
  const undo = () => {
    restoreArguments(controller, name, own);
    Reflect.deleteMetadata(INJECTION, controller, name);
  };
  const injection: CountedInjection = { apps: 0, count, responseAt, undo };
  Reflect.defineMetadata(INJECTION, injection, controller, name);
  return injection;
}
