import { HttpCode, Res, UseInterceptors } from '@nestjs/common';
import type { NestInterceptor } from '@nestjs/common';
import {
  argumentsOf,
  hasHttpCode,
  hideInterceptors,
  httpCodeOf,
  INJECTION,
  PREPARED,
  removeHttpCode,
  removeInterceptor,
  restoreArguments,
} from './decorators/metadata.js';
import { SseItemsInterceptor } from './sse.items.interceptor.js';

type Handler = (...args: never[]) => unknown;

/** What was set on a handler, and for how many apps that are starting. */
interface Preparation {
  apps: number;
  readonly interceptor: NestInterceptor;
  readonly hasSetHttpCode: boolean;
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
  readonly takeBack: () => void;
}

/**
 * Sets on a handler what Nest reads when it registers the route: status 200, and the interceptor
 * that takes async iterables apart. A handler belongs to its class, and so to every app of the
 * process that has it: what is set is taken back when Nest has read it.
 *
 * @returns takes it back; what another app still needs stays
 */
export function prepareHandler(prototype: object, name: string, handler: Handler): () => void {
  const preparation = preparationOf(handler) ?? setUp(prototype, name, handler);
  preparation.apps += 1;
  return () => {
    preparation.apps -= 1;
    if (preparation.apps === 0) {
      takeBack(handler, preparation);
    }
  };
}

/**
 * Has Nest give the response to a handler, behind the arguments that it takes. Nest keeps that by
 * class, and so for every app of the process that has it: it is taken back when Nest has read it.
 */
export function injectResponse(
  controller: abstract new (...args: never[]) => unknown,
  name: string,
  handler: Handler,
): { injection: Injection; takeBack: () => void } {
  const injection = injectionOf(controller, name) ?? inject(controller, name, handler);
  injection.apps += 1;
  return {
    injection,
    takeBack: () => {
      injection.apps -= 1;
      if (injection.apps === 0) {
        injection.takeBack();
      }
    },
  };
}

/** Gives a function the name and the metadata of the handler that it stands for, with status 200. */
export function standFor(handler: Handler, own: Handler): void {
  // Nest and its Reflector look up the prototypes; a guard of the app's may not, and let everybody in.
  Object.setPrototypeOf(own, handler);
  for (const key of Reflect.getMetadataKeys(handler)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), own);
  }
  Object.defineProperty(own, 'name', { value: handler.name, configurable: true });
  // What another app that is starting has set on the handler may be gone when Nest looks.
  HttpCode(httpCodeOf(handler) ?? 200)({}, handler.name, { value: own });
  hideInterceptors(own);
}

/**
 * Has a property of one instance read as something else.
 *
 * @returns takes it back
 */
export function shadow(instance: object, name: string, read: () => unknown): () => void {
  Object.defineProperty(instance, name, { get: read, configurable: true });
  return () => void Reflect.deleteProperty(instance, name);
}

function preparationOf(handler: Handler): Preparation | undefined {
  return Reflect.getOwnMetadata(PREPARED, handler) as Preparation | undefined;
}

function setUp(prototype: object, name: string, handler: Handler): Preparation {
  const descriptor: TypedPropertyDescriptor<unknown> = { value: handler };
  const hasSetHttpCode = !hasHttpCode(handler);
  if (hasSetHttpCode) {
    // Nest answers a POST with 201, and an EventSource client refuses that.
    HttpCode(200)(prototype, name, descriptor);
  }
  const interceptor = new SseItemsInterceptor();
  UseInterceptors(interceptor)(prototype, name, descriptor);
  const preparation: Preparation = { apps: 0, interceptor, hasSetHttpCode };
  Reflect.defineMetadata(PREPARED, preparation, handler);
  return preparation;
}

function takeBack(handler: Handler, { interceptor, hasSetHttpCode }: Preparation): void {
  Reflect.deleteMetadata(PREPARED, handler);
  removeInterceptor(handler, interceptor);
  if (hasSetHttpCode) {
    removeHttpCode(handler);
  }
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
  const takeBack = () => {
    restoreArguments(controller, name, own);
    Reflect.deleteMetadata(INJECTION, controller, name);
  };
  const injection: CountedInjection = { apps: 0, count, responseAt, takeBack };
  Reflect.defineMetadata(INJECTION, injection, controller, name);
  return injection;
}
