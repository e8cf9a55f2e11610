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

/** How a handler that serves itself is given the response, while apps are starting. */
const INJECTION = Symbol.for('nestjs-event-stream:injection');
/** What this package has set on a handler, or on a controller. */
const PREPARED = Symbol.for('nestjs-event-stream:prepared');

/** What was set on a handler or a controller, and for how many apps that are starting. */
interface Preparation {
  apps: number;
  readonly undo: () => void;
}

/** Where Nest gives the response to a handler. */
export interface Injection {
  /** How many arguments the handler takes, by its decorators. */
  readonly count: number;
  /** At which place it is given the response, behind all that it could take. */
  readonly responseAt: number;
}

interface CountedInjection extends Injection {
  /** How many apps that are starting have need of it. */
  apps: number;
  readonly undo: () => void;
}

/**
 * Sets on a handler what Nest reads when it registers the route: status 200, the interceptor that takes async iterables
 * apart, and ours that is to be the outermost, which stands around nothing in an app that has not made it its own. A
 * handler belongs to its class, and so to every app of the process that has it: what is set is taken back when Nest has
 * read it.
 *
 * @returns takes it back; what another app still needs stays
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

/** Puts our interceptor before those of a controller, which stand before those of its handlers. */
export function prepareController(controller: object): () => void {
  return prepareOnce(controller, () => surround(controller, [OutermostStandIn]));
}

/**
 * Has Nest give the response to a handler, behind the arguments that it takes. Nest keeps that by
 * class, and so for every app of the process that has it: it is taken back when Nest has read it.
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

/** Gives a function the name and the metadata of the handler that it stands for, with status 200. */
export function standFor(handler: Handler, own: Handler): void {
  resemble(handler, own);
  // What another app that is starting has set on the handler may be gone when Nest looks.
  HttpCode(httpCodeOf(handler) ?? 200)({}, handler.name, { value: own });
  hideInterceptors(own);
}

/** Gives a function the name and the metadata of a handler that it wraps. */
export function resemble(handler: Handler, own: Handler): void {
  // Nest and its Reflector look up the prototypes; a guard of the app's may not, and let everybody in.
  Object.setPrototypeOf(own, handler);
  for (const key of Reflect.getMetadataKeys(handler)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), own);
  }
  Object.defineProperty(own, 'name', { value: handler.name, configurable: true });
}

/**
 * Has a property of one instance read as something else, also when another function is put there, or on the prototype,
 * meanwhile: a tracer does so.
 *
 * @param read gives what is read in place of the function that would be
 * @returns takes it back
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

/** What is prepared for several apps stays until the last of them has no more need of it. */
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
  // One that inherits its parameters has them with the response of the controller that it inherits from.
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
  // In an app without this module that starts meanwhile, the handler is given one argument more than it takes.
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
