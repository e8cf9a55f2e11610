import { MetadataScanner } from '@nestjs/core';
import type { ModulesContainer } from '@nestjs/core';

export type Handler = (...args: unknown[]) => unknown;
type NestModule = ReturnType<ModulesContainer['get']> & object;

/** A method of a controller, as Nest would register it. */
export interface Route {
  readonly module: NestModule;
  readonly controller: abstract new (...args: never[]) => unknown;
  /** The class, as Nest names it in the context of a request. With a mixin it may differ from the controller. */
  readonly type: object;
  readonly name: string;
  /** The function that Nest would register now. A tracer may replace it at any time. */
  readonly handler: Handler;
  /** The controller instance, if one serves all requests. Undefined until Nest has created the providers of the app. */
  readonly instance: object | undefined;
}

/** Lists the methods of all controllers of an app. */
export function routesOf(modules: ModulesContainer): Route[] {
  const scanner = new MetadataScanner();
  const routes: Route[] = [];
  for (const module of modules.values()) {
    for (const wrapper of module.controllers.values()) {
      const { metatype } = wrapper;
      if (typeof metatype !== 'function') {
        continue;
      }
      const prototype = metatype.prototype as Record<string, Handler>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        routes.push({
          module,
          controller: metatype as Route['controller'],
          type: prototype.constructor,
          name,
          get handler() {
            const { instance } = this;
            return (instance ? (instance as typeof prototype) : prototype)[name] ?? prototype[name]!;
          },
          get instance() {
            return wrapper.isDependencyTreeStatic() ? (wrapper.instance as object | undefined) : undefined;
          },
        });
      }
    }
  }
  return routes;
}
