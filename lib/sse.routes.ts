import { HttpCode, Inject, Injectable, UseInterceptors } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from './connection/index.js';
import type { ConnectionSettings } from './connection/index.js';
import {
  CONNECTION_PARAMETER,
  hasHttpCode,
  isSseHandler,
  maxPendingDataLengthOf,
  PREPARED,
  ROUTE_OPTIONS,
} from './decorators/metadata.js';
import { SseError } from './sse.errors.js';
import { SseInterceptor } from './sse.interceptor.js';
import type { RouteSettings } from './sse.interceptor.js';
import { SseItemsInterceptor } from './sse.items.interceptor.js';
import { RESOLVED_OPTIONS } from './sse.module-definition.js';
import { resolveRouteSettings } from './sse.options.js';
import type { ResolvedOptions, SseRouteOptions } from './sse.options.js';

type Handler = (...args: never[]) => unknown;

interface Route {
  controller: abstract new (...args: never[]) => unknown;
  name: string;
  handler: Handler;
}

/**
 * Finds the app's `@Sse()` routes when it starts, and has them served by this package. An app
 * without one gets no interceptor, which every plain route would pay for.
 */
@Injectable()
export class SseRoutes {
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
    sseRoutes.forEach(prepare);
    const settings = settingsOfAll(sseRoutes, options);
    // From here, in a constructor, it stands before every interceptor of the app. As an
    // APP_INTERCEPTOR it would stand after those, and a serializer that strips a password from
    // what handlers return would see no event.
    config.addGlobalInterceptor(new SseInterceptor(settings, registry));
  }
}

function routesOf(modules: ModulesContainer): Route[] {
  const scanner = new MetadataScanner();
  const routes: Route[] = [];
  for (const module of modules.values()) {
    for (const { metatype } of module.controllers.values()) {
      if (typeof metatype !== 'function') {
        continue;
      }
      const prototype = metatype.prototype as Record<string, Handler>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        routes.push({ controller: metatype as Route['controller'], name, handler: prototype[name]! });
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

/** Nest reads these when it registers the route. They stay on the handler, and change nothing without this module. */
function prepare({ controller, name, handler }: Route): void {
  if (Reflect.hasOwnMetadata(PREPARED, handler)) {
    return;
  }
  Reflect.defineMetadata(PREPARED, true, handler);
  const descriptor: TypedPropertyDescriptor<unknown> = { value: handler };
  const prototype = controller.prototype as object;
  if (!hasHttpCode(handler)) {
    // Nest answers a POST with 201, and an EventSource client refuses that.
    HttpCode(200)(prototype, name, descriptor);
  }
  UseInterceptors(new SseItemsInterceptor())(prototype, name, descriptor);
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
