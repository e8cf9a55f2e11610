import { Inject, Injectable } from '@nestjs/common';
import type { OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from './connection/index.js';
import type { ConnectionSettings } from './connection/index.js';
import {
  CONNECTION_PARAMETER,
  isSseHandler,
  maxPendingDataLengthOf,
  ROUTE_OPTIONS,
} from './decorators/metadata.js';
import { SseError } from './sse.errors.js';
import { SseInterceptor } from './sse.interceptor.js';
import type { RouteSettings } from './sse.interceptor.js';
import { RESOLVED_OPTIONS } from './sse.module-definition.js';
import { resolveRouteSettings } from './sse.options.js';
import type { ResolvedOptions, SseRouteOptions } from './sse.options.js';
import { prepareHandler } from './sse.preparation.js';

type Handler = (...args: never[]) => unknown;

interface Route {
  controller: abstract new (...args: never[]) => unknown;
  name: string;
  handler: Handler;
  /** Whether one instance serves all requests; known once the app's providers are made. */
  isStatic: () => boolean;
}

/**
 * Finds the app's `@Sse()` routes when it starts, and has them served by this package. An app
 * without one gets no interceptor, which every plain route would pay for.
 */
@Injectable()
export class SseRoutes implements OnModuleInit, OnApplicationShutdown {
  /** Takes back what was set on the handlers. */
  #restore: { isStatic: () => boolean; takeBack: () => void }[] = [];

  constructor(
    @Inject(ModulesContainer) modules: ModulesContainer,
    @Inject(ApplicationConfig) config: ApplicationConfig,
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(RESOLVED_OPTIONS) options: ResolvedOptions,
  ) {
    const routes = routesOf(modules);
    routes.forEach((route) => refuseMisplacedDecorators(route, options));
    refuseIdleOptions(routes, options);
    const sseRoutes = routes.filter(({ handler }) => isSseHandler(handler));
    if (!options.enhanceSseRoutes || sseRoutes.length === 0) {
      return;
    }
    this.#restore = sseRoutes.map(({ controller, name, handler, isStatic }) => ({
      isStatic,
      takeBack: prepareHandler(controller.prototype as object, name, handler),
    }));
    const settings = settingsOfAll(sseRoutes, options);
    // From here, in a constructor, it stands before every interceptor of the app. As an
    // APP_INTERCEPTOR it would stand after those, and a serializer that strips a password from
    // what handlers return would see no event.
    config.addGlobalInterceptor(new SseInterceptor(settings, registry));
  }

  /** Nest has registered the routes; it looks at those of request-scoped controllers with each request. */
  onModuleInit(): void {
    this.#takeBack(({ isStatic }) => isStatic());
  }

  onApplicationShutdown(): void {
    this.#takeBack(() => true);
  }

  #takeBack(isDue: (entry: { isStatic: () => boolean }) => boolean): void {
    const due = this.#restore.filter(isDue);
    this.#restore = this.#restore.filter((entry) => !due.includes(entry));
    due.forEach(({ takeBack }) => takeBack());
  }
}

function routesOf(modules: ModulesContainer): Route[] {
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
          controller: metatype as Route['controller'],
          name,
          handler: prototype[name]!,
          isStatic: () => wrapper.isDependencyTreeStatic(),
        });
      }
    }
  }
  return routes;
}

function refuseMisplacedDecorators(
  { controller, name, handler }: Route,
  { enhanceSseRoutes }: ResolvedOptions,
): void {
  const isServed = isSseHandler(handler) && enhanceSseRoutes;
  if (isServed) {
    return;
  }
  const why = enhanceSseRoutes ? 'is no @Sse() route' : 'is left to Nest by enhanceSseRoutes: false';
  if (Reflect.hasMetadata(CONNECTION_PARAMETER, controller.prototype as object, name)) {
    throw new SseError(
      'misuse',
      `${controller.name}.${name} has a parameter with @Connection() and ${why}. ` +
        'Take the response with @Res() and call SseService.connect(res) instead.',
    );
  }
  if (Reflect.hasMetadata(ROUTE_OPTIONS, handler)) {
    throw new SseError(
      'misuse',
      `${controller.name}.${name} has @SseOptions() and ${why}. ${HAND_OPTIONS_OVER}`,
    );
  }
}

const HAND_OPTIONS_OVER =
  'Hand the options to SseService.connect(res, options) or stream(res, source, options) instead.';

/** `@SseOptions()` of a controller that reach no route: the timeouts that somebody counts on would be others. */
function refuseIdleOptions(routes: Route[], { enhanceSseRoutes }: ResolvedOptions): void {
  for (const controller of new Set(routes.map((route) => route.controller))) {
    const hasSseRoute = routes.some(
      (route) => route.controller === controller && isSseHandler(route.handler),
    );
    if (Reflect.hasOwnMetadata(ROUTE_OPTIONS, controller) && !(hasSseRoute && enhanceSseRoutes)) {
      const why = hasSseRoute ? 'its routes are left to Nest by enhanceSseRoutes: false' : 'no @Sse() route';
      throw new SseError('misuse', `${controller.name} has @SseOptions() and ${why}. ${HAND_OPTIONS_OVER}`);
    }
  }
}

function settingsOfAll(routes: Route[], options: ResolvedOptions): RouteSettings {
  const settings = new Map<Handler, Map<unknown, ConnectionSettings>>();
  for (const route of routes) {
    const { controller, handler } = route;
    const byController = settings.get(handler) ?? new Map<unknown, ConnectionSettings>();
    // What Nest calls the class of a route: a mixin may have set another than the controller itself.
    byController.set((controller.prototype as object).constructor, settingsOf(route, options));
    settings.set(handler, byController);
  }
  return settings;
}

function settingsOf(
  { controller, name, handler }: Route,
  { connection }: ResolvedOptions,
): ConnectionSettings {
  const route: SseRouteOptions = {
    ...(Reflect.getMetadata(ROUTE_OPTIONS, controller) as SseRouteOptions | undefined),
    ...(Reflect.getMetadata(ROUTE_OPTIONS, handler) as SseRouteOptions | undefined),
  };
  try {
    return resolveRouteSettings({ maxBufferedBytes: maxPendingDataLengthOf(handler), ...route }, connection);
  } catch (error) {
    if (!(error instanceof SseError)) {
      throw error;
    }
    const { code, field, message } = error;
    throw new SseError(code, `@SseOptions() of ${controller.name}.${name}: ${message}`, {
      cause: error,
      field,
    });
  }
}
