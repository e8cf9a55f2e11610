import { HttpCode, UseInterceptors } from '@nestjs/common';
import type { NestInterceptor } from '@nestjs/common';
import { hasHttpCode, PREPARED, removeHttpCode, removeInterceptor } from './decorators/metadata.js';
import { SseItemsInterceptor } from './sse.items.interceptor.js';

type Handler = (...args: never[]) => unknown;

/** What was set on a handler, and for how many apps that are starting. */
interface Preparation {
  apps: number;
  readonly interceptor: NestInterceptor;
  readonly hasSetHttpCode: boolean;
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
