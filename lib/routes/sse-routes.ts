import { Inject, Injectable } from '@nestjs/common';
import type { OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from '../connection/index.js';
import type { ConnectionSettings } from '../connection/index.js';
import type { Platform } from '../http/index.js';
import type { Reporter } from '../errors/index.js';
import {
  ADMISSION,
  CONNECTION_PARAMETER,
  interceptorsOf,
  isSseHandler,
  maxPendingDataLengthOf,
  ROUTE_OPTIONS,
} from '../decorators/metadata.js';
import { SseError } from '../errors/index.js';
import { serveByItself } from './self-serving.handler.js';
import { SseInterceptor, SseRouteInterceptor } from './outermost.interceptor.js';
import { SseItemsInterceptor } from './items.interceptor.js';
import { RESOLVED_OPTIONS } from '../sse.module-definition.js';
import { resolveRouteSettings } from '../sse.options.js';
import type { ResolvedOptions, SseRouteOptions } from '../sse.options.js';
import {
  injectResponse,
  prepareController,
  prepareHandler,
  resemble,
  shadow,
  standFor,
} from './preparation.js';
import type { Injection } from './preparation.js';
import { RouteTable } from './route-table.js';
import { releasingSource } from './returned-source.js';
import { SseServing } from './serving.js';

type Handler = (...args: unknown[]) => unknown;
type NestModule = ReturnType<ModulesContainer['get']> & object;

interface Route {
  readonly module: NestModule;
  readonly controller: abstract new (...args: never[]) => unknown;
  /** The class, as Nest names it in the context of a request: a mixin may have set another than the controller. */
  readonly type: object;
  readonly name: string;
  /** The function that Nest would register now. A tracer may put another in its place at any time. */
  readonly handler: Handler;
  /** The controller, if one instance serves all requests. Undefined until the app's providers are made. */
  readonly instance: object | undefined;
}

/**
 * Finds the app's `@Sse()` routes when it starts, and has this package serve them. A route without interceptors around
 * it is replaced by a handler that serves itself, so that nothing changes in what Nest does. A route with interceptors
 * is served by an interceptor of ours, the outermost: a global one if the app has a global one, else one in the metadata
 * of the route alone, so that plain routes pay nothing.
 */
@Injectable()
export class SseRoutes implements OnModuleInit, OnApplicationShutdown {
  readonly #routes: Route[];
  readonly #table: RouteTable;
  readonly #config: ApplicationConfig;
  readonly #serving: SseServing;
  readonly #interceptor: SseInterceptor;
  readonly #reporter: Reporter;
  /** Takes back what was set for the registration of the routes. */
  #restore: { route: Route; takeBack: () => void }[] = [];
  /** Routes that are to serve themselves, and that Nest has not registered so far. */
  readonly #unclaimed = new Set<Route>();
  /** What lets a client in, of each handler that serves itself: it marks the handlers, and what wraps them, as ours. */
  readonly #admissions = new Set<unknown>();

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
    this.#table = tableOf(this.#routes, options);
    this.#config = config;
    this.#serving = new SseServing(registry);
    this.#reporter = registry.reporter;
    this.#interceptor = new SseInterceptor(this.#table, this.#serving, registry.reporter);
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
    // One that was replaced since by a function without @Sse() is none of Nest's routes either.
    const routes = this.#routes.filter(({ handler }) => isSseHandler(handler));
    if (this.#hasGlobalInterceptors() || !this.#withdrawInterceptor()) {
      this.#restore = routes.map((route) => ({ route, takeBack: this.#intercept(route) }));
      return;
    }
    this.#restore = routes.map((route) => ({
      route,
      takeBack: canServeItself(route) ? this.#serveByItself(route) : this.#surround(route),
    }));
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

  #hasGlobalInterceptors(): boolean {
    return (
      this.#config.getGlobalInterceptors().some((interceptor) => interceptor !== this.#interceptor) ||
      this.#config.getGlobalRequestInterceptors().length > 0
    );
  }

  /** Takes our interceptor back, for which every plain route would pay. False where Nest does not let it go. */
  #withdrawInterceptor(): boolean {
    const interceptors = this.#config.getGlobalInterceptors();
    interceptors.splice(interceptors.indexOf(this.#interceptor), 1);
    return !this.#config.getGlobalInterceptors().includes(this.#interceptor);
  }

  /** Sets on a route what an interceptor needs that serves it. */
  #intercept(route: Route): () => void {
    const { controller, type, name, handler } = route;
    const prototype = controller.prototype as Record<string, Handler>;
    // A wrapper on the instance may be made anew for each look, with what the method of the class has.
    const takeBacks = [...new Set([prototype[name]!, handler])].map((target) => {
      this.#table.mark(type, name, target);
      return prepareHandler(prototype, name, target);
    });
    const reveal = this.#releaseLateSources(route);
    return () => {
      reveal();
      takeBacks.forEach((takeBack) => takeBack());
    };
  }

  /** Has Nest register a handler whose source is released if its client has left by the time it comes. */
  #releaseLateSources({ instance, name }: Route): () => void {
    const isFixed = instance === undefined || !Object.isExtensible(instance);
    if (isFixed || !canBeShadowed(Object.getOwnPropertyDescriptor(instance, name))) {
      return () => undefined;
    }
    const made = new Map<Handler, Handler>();
    return shadow(instance, name, (current) => {
      const handler = current as Handler;
      if (!isSseHandler(handler)) {
        return handler;
      }
      const known = made.get(handler);
      if (known) {
        return known;
      }
      const own = releasingSource(handler, this.#reporter);
      resemble(handler, own);
      made.set(handler, own);
      return own;
    });
  }

  /** Makes our interceptor the outermost of one route. */
  #surround(route: Route): () => void {
    const { module, type } = route;
    // What stands in the metadata is ours in this app alone.
    module.addInjectable({ provide: SseRouteInterceptor, useValue: this.#interceptor }, 'interceptor');
    const takeBacks = [this.#intercept(route)];
    if (hasInterceptors(type)) {
      takeBacks.push(prepareController(type));
    }
    return () => takeBacks.forEach((takeBack) => takeBack());
  }

  #serveByItself(route: Route): () => void {
    const { controller, name } = route;
    const { injection, takeBack } = injectResponse(controller, name, route.handler);
    this.#unclaimed.add(route);
    const made = new Map<Handler, Handler>();
    const reveal = shadow(route.instance!, name, (current) => {
      const handler = current as Handler;
      this.#unclaimed.delete(route);
      if (!isSseHandler(handler) || this.#admissions.has(Reflect.getMetadata(ADMISSION, handler))) {
        return handler;
      }
      if (this.#hasGlobalInterceptors()) {
        this.#interceptAfterAll();
        return handler;
      }
      const own = made.get(handler) ?? this.#ownHandler(route, handler, injection);
      made.set(handler, own);
      return own;
    });
    return () => {
      reveal();
      takeBack();
    };
  }

  #ownHandler({ type, name }: Route, handler: Handler, injection: Injection): Handler {
    const settings = this.#table.settingsOf(type, name);
    const own = serveByItself(handler, injection, settings, this.#serving);
    standFor(handler, own);
    const admit = (platform: Platform) => this.#serving.admit(platform, settings);
    Reflect.defineMetadata(ADMISSION, admit, own);
    this.#admissions.add(admit);
    return own;
  }

  /**
   * A global interceptor has come between {@link prepare} and the registration, as from the `configure()`
   * of another module. It would see no event of handlers that serve themselves.
   */
  #interceptAfterAll(): void {
    this.#takeBack(() => true);
    this.#unclaimed.clear();
    this.#config.getGlobalInterceptors().unshift(this.#interceptor);
    this.#restore = this.#routes.map((route) => ({ route, takeBack: this.#intercept(route) }));
  }
}

/** What another app sets on a handler for its own registration stands around nothing in this one. */
function hasInterceptors(target: object): boolean {
  return interceptorsOf(target).some(
    (interceptor) => interceptor !== SseRouteInterceptor && !(interceptor instanceof SseItemsInterceptor),
  );
}

/**
 * Whether a route can be served by a function in the place of its handler: no interceptor stands around it, and its
 * controller is a plain instance of its class that serves all requests.
 */
function canServeItself({ controller, type, name, handler, instance }: Route): boolean {
  return (
    !hasInterceptors(type) &&
    !hasInterceptors(handler) &&
    instance !== undefined &&
    Object.getPrototypeOf(instance) === controller.prototype &&
    instance.constructor === controller &&
    Object.isExtensible(instance) &&
    canBeShadowed(Object.getOwnPropertyDescriptor(instance, name))
  );
}

/** A tracer may have put a function on the instance. An accessor there is other code that replaces handlers. */
function canBeShadowed(own: PropertyDescriptor | undefined): boolean {
  return own === undefined || ('value' in own && own.configurable === true && own.writable === true);
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

function tableOf(routes: Route[], options: ResolvedOptions): RouteTable {
  const table = new RouteTable();
  for (const route of routes) {
    table.add(route.type, route.name, settingsOf(route, options));
  }
  return table;
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
