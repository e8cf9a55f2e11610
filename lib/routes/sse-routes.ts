import { Inject, Injectable } from '@nestjs/common';
import type { OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from '../connection/index.js';
import { ADMISSION } from '../decorators/metadata.js';
import { SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import type { Platform } from '../http/index.js';
import { Admission } from '../sse.admission.js';
import { RESOLVED_OPTIONS } from '../sse.module-definition.js';
import type { ResolvedOptions } from '../sse.options.js';
import { refuseMisplacedDecorators } from './misplaced-decorators.js';
import { isSseHandler } from './nest-metadata.js';
import { hasInterceptors, OutermostPosition, OutermostInterceptor } from './outermost.interceptor.js';
import {
  injectResponse,
  prepareController,
  prepareHandler,
  resemble,
  shadow,
  standFor,
} from './preparation.js';
import type { Injection } from './preparation.js';
import { releasingSource } from './returned-source.js';
import { routesOf } from './route.js';
import type { Handler, Route } from './route.js';
import { settingsOfRoute } from './route-settings.js';
import { RouteTable } from './route-table.js';
import { serveByItself } from './self-serving.handler.js';
import { SseServing } from './serving.js';

/**
 * Finds the `@Sse()` routes of an app when it starts, and makes this package serve them. A route without interceptors
 * gets a handler that serves itself, so that Nest treats it as before. A route with interceptors is served by an
 * interceptor of ours, the outermost.
 */
@Injectable()
export class SseRoutes implements OnModuleInit, OnApplicationShutdown {
  readonly #routes: Route[];
  readonly #table = new RouteTable();
  readonly #serving: SseServing;
  readonly #outermost: OutermostPosition;
  readonly #reporter: Reporter;
  /** Functions that undo what was set for the registration of the routes. */
  #restore: { route: Route; undo: () => void }[] = [];
  /** Routes that shall serve themselves, and that Nest has not registered yet. */
  readonly #unclaimed = new Set<Route>();
  /**
   * Functions that admit a client, one for each handler that serves itself. They identify our handlers, and wrappers of
   * them.
   */
  readonly #admissions = new Set<unknown>();

  constructor(
    @Inject(ModulesContainer) modules: ModulesContainer,
    @Inject(ApplicationConfig) config: ApplicationConfig,
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(RESOLVED_OPTIONS) options: ResolvedOptions,
    @Inject(Admission) admission: Admission,
  ) {
    const routes = routesOf(modules);
    refuseMisplacedDecorators(routes, options.enhanceSseRoutes);
    this.#routes = options.enhanceSseRoutes ? routes.filter(({ handler }) => isSseHandler(handler)) : [];
    for (const route of this.#routes) {
      this.#table.add(route.type, route.name, settingsOfRoute(route, options.sseRoutes));
    }
    this.#serving = new SseServing(admission, registry.wheel);
    this.#reporter = registry.reporter;
    const interceptor = new OutermostInterceptor(this.#table, this.#serving, registry.reporter);
    this.#outermost = new OutermostPosition(config, interceptor);
    if (this.#routes.length > 0) {
      this.#outermost.takeGlobal();
    }
  }

  /** Prepares the routes. Call it when the controllers exist, and before Nest registers the first route. */
  prepare(): void {
    if (this.#routes.length === 0) {
      return;
    }
    // A handler that was replaced since by a function without @Sse() is no longer a route of Nest.
    const routes = this.#routes.filter(({ handler }) => isSseHandler(handler));
    if (this.#outermost.hasGlobalOthers || !this.#outermost.leaveGlobal()) {
      this.#restore = routes.map((route) => ({ route, undo: this.#intercept(route) }));
      return;
    }
    this.#restore = routes.map((route) => ({
      route,
      undo: canServeItself(route) ? this.#serveByItself(route) : this.#surround(route),
    }));
  }

  /**
   * Nest has registered the routes by now. Routes of request-scoped controllers stay prepared: Nest reads them with
   * each request.
   */
  onModuleInit(): void {
    const [unclaimed] = this.#unclaimed;
    this.#undo(({ instance }) => instance !== undefined);
    if (unclaimed) {
      throw new SseError(
        'misuse',
        `${unclaimed.controller.name}.${unclaimed.name} was replaced on its controller while the app was starting, ` +
          'and is not served by SseModule. Replace it before, or set enhanceSseRoutes: false.',
      );
    }
  }

  onApplicationShutdown(): void {
    this.#undo(() => true);
  }

  #undo(isDue: (route: Route) => boolean): void {
    const due = this.#restore.filter(({ route }) => isDue(route));
    this.#restore = this.#restore.filter((entry) => !due.includes(entry));
    due.forEach(({ undo }) => undo());
  }

  /** Sets on a route what an interceptor needs to serve it. */
  #intercept(route: Route): () => void {
    const { controller, type, name, handler } = route;
    const prototype = controller.prototype as Record<string, Handler>;
    // A wrapper on the instance may be created anew at each read, with the metadata of the method of the class.
    const undos = [...new Set([prototype[name]!, handler])].map((target) => {
      this.#table.mark(type, name, target);
      return prepareHandler(prototype, name, target);
    });
    const reveal = this.#releaseLateSources(route);
    return () => {
      reveal();
      undos.forEach((undo) => undo());
    };
  }

  /**
   * Makes Nest register a wrapper that releases the source of the handler, if the client has left before the source
   * arrives.
   */
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
    this.#outermost.takeWithin(module);
    const undos = [this.#intercept(route)];
    if (hasInterceptors(type)) {
      undos.push(prepareController(type));
    }
    return () => undos.forEach((undo) => undo());
  }

  #serveByItself(route: Route): () => void {
    const { controller, name } = route;
    const { injection, undo } = injectResponse(controller, name, route.handler);
    this.#unclaimed.add(route);
    const made = new Map<Handler, Handler>();
    const reveal = shadow(route.instance!, name, (current) => {
      const handler = current as Handler;
      this.#unclaimed.delete(route);
      if (!isSseHandler(handler) || this.#admissions.has(Reflect.getMetadata(ADMISSION, handler))) {
        return handler;
      }
      if (this.#outermost.hasGlobalOthers) {
        this.#interceptAfterAll();
        return handler;
      }
      const own = made.get(handler) ?? this.#ownHandler(route, handler, injection);
      made.set(handler, own);
      return own;
    });
    return () => {
      reveal();
      undo();
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
   * Switches all routes to the interceptor. A global interceptor was added between {@link prepare} and the
   * registration, such as in `configure()` of another module. It would see no event of handlers that serve themselves.
   */
  #interceptAfterAll(): void {
    this.#undo(() => true);
    this.#unclaimed.clear();
    this.#outermost.retakeGlobal();
    this.#restore = this.#routes.map((route) => ({ route, undo: this.#intercept(route) }));
  }
}

/**
 * Whether a function can replace the handler of a route: the route has no interceptors, and its controller is a plain
 * instance of its class that serves all requests.
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

/**
 * Whether a method of an instance can be shadowed. A tracer may have put a function there. An accessor belongs to other
 * code that replaces handlers.
 */
function canBeShadowed(own: PropertyDescriptor | undefined): boolean {
  return own === undefined || ('value' in own && own.configurable === true && own.writable === true);
}
