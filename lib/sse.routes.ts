import { Inject, Injectable } from '@nestjs/common';
import type { OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from './connection/index.js';
import type { ConnectionSettings, Platform } from './connection/index.js';
import {
  ADMISSION,
  CONNECTION_PARAMETER,
  interceptorsOf,
  isSseHandler,
  maxPendingDataLengthOf,
  ROUTE_OPTIONS,
} from './decorators/metadata.js';
import { SseError } from './sse.errors.js';
import { serveByItself } from './sse.handler.js';
import { SseInterceptor } from './sse.interceptor.js';
import type { RouteSettings } from './sse.interceptor.js';
import { SseItemsInterceptor } from './sse.items.interceptor.js';
import { RESOLVED_OPTIONS } from './sse.module-definition.js';
import { resolveRouteSettings } from './sse.options.js';
import type { ResolvedOptions, SseRouteOptions } from './sse.options.js';
import { injectResponse, prepareHandler, shadow, standFor } from './sse.preparation.js';
import { SseServing } from './sse.serving.js';

type Handler = (...args: unknown[]) => unknown;

interface Route {
  readonly controller: abstract new (...args: never[]) => unknown;
  readonly name: string;
  readonly handler: Handler;
  /** Its controller where one serves all requests. Undefined until the app's providers are made. */
  readonly instance: object | undefined;
}

/**
 * Finds the app's `@Sse()` routes when it starts, and has them served by this package: around the
 * interceptors of the app where it has any, and otherwise within the handlers, so that neither its
 * plain routes nor what Nest does without interceptors change.
 */
@Injectable()
export class SseRoutes implements OnModuleInit, OnApplicationShutdown {
  readonly #routes: Route[];
  readonly #settings: RouteSettings;
  readonly #config: ApplicationConfig;
  readonly #serving: SseServing;
  readonly #interceptor: SseInterceptor;
  /** Takes back what was set for the registration of the routes. */
  #restore: { route: Route; takeBack: () => void }[] = [];
  /** Routes that are to serve themselves, and that nobody has registered so far. */
  readonly #unclaimed = new Set<Route>();

  constructor(
    @Inject(ModulesContainer) modules: ModulesContainer,
    @Inject(ApplicationConfig) config: ApplicationConfig,
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(RESOLVED_OPTIONS) options: ResolvedOptions,
  ) {
    const routes = routesOf(modules);
    routes.forEach((route) => refuseMisplacedDecorators(route, options));
    refuseIdleOptions(routes, options);
    this.#routes = options.enhanceSseRoutes ? routes.filter(({ handler }) => isSseHandler(handler)) : [];
    this.#settings = settingsOfAll(this.#routes, options);
    this.#config = config;
    this.#serving = new SseServing(registry);
    this.#interceptor = new SseInterceptor(this.#settings, this.#serving);
    if (this.#routes.length > 0) {
      // From here, in a constructor, it stands before every interceptor of the app. As an
      // APP_INTERCEPTOR it would stand after those, and a serializer that strips a password from
      // what handlers return would see no event.
      config.addGlobalInterceptor(this.#interceptor);
    }
  }

  /** To be called when the controllers are made, and before Nest registers the first route. */
  prepare(): void {
    if (this.#routes.length === 0) {
      return;
    }
    if (this.#isIntercepted() || !this.#routes.every(canBeReplaced) || !this.#withdrawInterceptor()) {
      this.#restore = this.#routes.map(intercept);
      return;
    }
    this.#restore = this.#routes.map((route) => ({ route, takeBack: this.#serveByItself(route) }));
  }

  /** Nest has registered the routes; it looks at those of request-scoped controllers with each request. */
  onModuleInit(): void {
    const [unclaimed] = this.#unclaimed;
    this.#takeBack(({ instance }) => instance !== undefined);
    if (unclaimed) {
      throw new SseError(
        'misuse',
        `${unclaimed.controller.name}.${unclaimed.name} was replaced on its controller while the app was starting, ` +
          'and is not served by SseModule. Replace it before, or set enhanceSseRoutes: false.',
      );
    }
  }

  onApplicationShutdown(): void {
    this.#takeBack(() => true);
  }

  #takeBack(isDue: (route: Route) => boolean): void {
    const due = this.#restore.filter(({ route }) => isDue(route));
    this.#restore = this.#restore.filter((entry) => !due.includes(entry));
    due.forEach(({ takeBack }) => takeBack());
  }

  /** Whether anything of the app stands around one of the routes. */
  #isIntercepted(): boolean {
    return (
      this.#config.getGlobalInterceptors().some((interceptor) => interceptor !== this.#interceptor) ||
      this.#config.getGlobalRequestInterceptors().length > 0 ||
      this.#routes.some(({ controller, handler }) => [controller, handler].some(hasInterceptors))
    );
  }

  /** Takes our interceptor back, for which every plain route would pay. False where Nest does not let it go. */
  #withdrawInterceptor(): boolean {
    const interceptors = this.#config.getGlobalInterceptors();
    interceptors.splice(interceptors.indexOf(this.#interceptor), 1);
    return !this.#config.getGlobalInterceptors().includes(this.#interceptor);
  }

  #serveByItself(route: Route): () => void {
    const { controller, name, handler } = route;
    const settings = this.#settings.get(handler)!.get(controller)!;
    const { injection, takeBack } = injectResponse(controller, name, handler);
    const own = serveByItself(handler, injection, settings, this.#serving);
    standFor(handler, own);
    const admit = (platform: Platform) => this.#serving.admit(platform, settings);
    Reflect.defineMetadata(ADMISSION, admit, own);
    this.#unclaimed.add(route);
    const reveal = shadow(route.instance!, name, () => {
      this.#unclaimed.delete(route);
      if (this.#isIntercepted()) {
        this.#interceptAfterAll();
        return handler;
      }
      return own;
    });
    return () => {
      reveal();
      takeBack();
    };
  }

  /**
   * An interceptor has come between {@link prepare} and the registration, as from the `configure()`
   * of another module. It would see no event of handlers that serve themselves.
   */
  #interceptAfterAll(): void {
    this.#takeBack(() => true);
    this.#unclaimed.clear();
    this.#config.getGlobalInterceptors().unshift(this.#interceptor);
    this.#restore = this.#routes.map(intercept);
  }
}

function intercept(route: Route): { route: Route; takeBack: () => void } {
  const { controller, name, handler } = route;
  return { route, takeBack: prepareHandler(controller.prototype as object, name, handler) };
}

/** What another app sets on a handler for its own registration stands around nothing in this one. */
function hasInterceptors(target: object): boolean {
  return interceptorsOf(target).some((interceptor) => !(interceptor instanceof SseItemsInterceptor));
}

/** A controller that is made for each request, or is no plain instance of its class, has its handlers from there alone. */
function canBeReplaced({ controller, name, instance }: Route): boolean {
  return (
    instance !== undefined &&
    Object.getPrototypeOf(instance) === controller.prototype &&
    instance.constructor === controller &&
    Object.isExtensible(instance) &&
    !Object.hasOwn(instance, name)
  );
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
          get instance() {
            return wrapper.isDependencyTreeStatic() ? (wrapper.instance as object | undefined) : undefined;
          },
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
  { sseRoutes }: ResolvedOptions,
): ConnectionSettings {
  const route: SseRouteOptions = {
    ...(Reflect.getMetadata(ROUTE_OPTIONS, controller) as SseRouteOptions | undefined),
    ...(Reflect.getMetadata(ROUTE_OPTIONS, handler) as SseRouteOptions | undefined),
  };
  try {
    // Nest counts a burst against it as well.
    const length = route.maxBufferedBytes === undefined ? maxPendingDataLengthOf(handler) : undefined;
    return resolveRouteSettings({ maxBufferedBytes: length, maxBurstBytes: length, ...route }, sseRoutes);
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
