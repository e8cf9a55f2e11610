import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import type { ApplicationConfig } from '@nestjs/core';
import { defer, EMPTY } from 'rxjs';
import type { Observable } from 'rxjs';
import { eventStreamOf } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { ConnectionSettings } from '../connection/index.js';
import type { Reporter } from '../errors/index.js';
import { SseError } from '../errors/index.js';
import { ItemsInterceptor } from './items.interceptor.js';
import { interceptorsOf, isSseHandler } from './nest-metadata.js';
import type { Route } from './route.js';
import type { RouteTable } from './route-table.js';
import type { SseServing } from './serving.js';

type Handler = (...args: never[]) => unknown;

/**
 * Serves `@Sse()` routes that have interceptors of the app. It must be the outermost: see {@link OutermostPosition}.
 */
export class OutermostInterceptor implements NestInterceptor {
  readonly #routes: RouteTable;
  readonly #serving: SseServing;
  readonly #reporter: Reporter;
  readonly #reported = new Set<string>();

  constructor(routes: RouteTable, serving: SseServing, reporter: Reporter) {
    this.#routes = routes;
    this.#serving = serving;
    this.#reporter = reporter;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const handler = context.getHandler() as Handler;
    // Plain routes pass here as well, if the interceptor is global: this lookup is their only cost.
    const settings = this.#routes.find(context.getClass(), handler);
    if (settings === undefined && isSseHandler(handler)) {
      this.#reportUnknown(context.getClass().name, handler.name);
    }
    if (!settings || context.getType() !== 'http') {
      return next.handle();
    }
    const platform = toPlatform(context.switchToHttp().getResponse());
    // Another SseModule of the same app serves this request already.
    if (eventStreamOf(platform.raw)) {
      return next.handle();
    }
    return defer(() => this.#serve(platform, settings, next));
  }

  #serve(
    platform: ReturnType<typeof toPlatform>,
    settings: ConnectionSettings,
    next: CallHandler,
  ): Observable<unknown> {
    const connection = this.#serving.admit(platform, settings);
    return this.#serving.answer(connection, connection.isClosed ? EMPTY : next.handle());
  }

  /** Reports, once for each route, that Nest alone serves an `@Sse()` route of this app. */
  #reportUnknown(className: string, name: string): void {
    const route = `${className}.${name}`;
    if (this.#reported.has(route)) {
      return;
    }
    this.#reported.add(route);
    this.#reporter.error(
      `${route} has @Sse() and is served by Nest alone, without heartbeats, limits and a clean end.`,
      new SseError(
        'misuse',
        `SseModule does not recognise the handler of ${route}: it is none of those that it found at the start of the ` +
          'app. A tracer or decorator that puts a function in its place must copy its metadata or its name, and a ' +
          'controller must be in a module before the app starts.',
      ),
    );
  }
}

/**
 * Decides where the {@link OutermostInterceptor} stands, so that it comes before every interceptor of the app. Nest
 * calls global interceptors before those of controllers and handlers. So ours is global if the app has a global one.
 * Otherwise it is in the metadata of `@Sse()` routes alone, and plain routes pay nothing.
 */
export class OutermostPosition {
  readonly #config: ApplicationConfig;
  readonly #interceptor: OutermostInterceptor;

  constructor(config: ApplicationConfig, interceptor: OutermostInterceptor) {
    this.#config = config;
    this.#interceptor = interceptor;
  }

  /**
   * Adds our interceptor to the global ones. Call it in a constructor, before Nest adds those of the app. An
   * APP_INTERCEPTOR would come after them, and a serializer that strips passwords from returned values would see no
   * event.
   */
  takeGlobal(): void {
    this.#config.addGlobalInterceptor(this.#interceptor);
  }

  /** Puts our interceptor before global ones that were added since {@link leaveGlobal}. */
  retakeGlobal(): void {
    this.#config.getGlobalInterceptors().unshift(this.#interceptor);
  }

  /**
   * Removes our interceptor from the global ones.
   *
   * @returns whether Nest has let it go. If not, it stays global, and every route pays for it
   */
  leaveGlobal(): boolean {
    const interceptors = this.#config.getGlobalInterceptors();
    interceptors.splice(interceptors.indexOf(this.#interceptor), 1);
    return !this.#config.getGlobalInterceptors().includes(this.#interceptor);
  }

  /** Whether the app has global interceptors of its own. */
  get hasGlobalOthers(): boolean {
    return (
      this.#config.getGlobalInterceptors().some((interceptor) => interceptor !== this.#interceptor) ||
      this.#config.getGlobalRequestInterceptors().length > 0
    );
  }

  /** Makes Nest use our interceptor in place of the {@link OutermostStandIn} on the routes of a module. */
  takeWithin(module: Route['module']): void {
    // The module belongs to this app alone. The metadata is shared with other apps of the process: leave it as it is.
    module.addInjectable({ provide: OutermostStandIn, useValue: this.#interceptor }, 'interceptor');
  }
}

/**
 * Placeholder for the {@link OutermostInterceptor} in the metadata of handlers and controllers. Metadata is shared by
 * all apps of a process. Each app resolves this class to its own interceptor; an app without one gets this class, which
 * passes everything on.
 */
export class OutermostStandIn implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle();
  }
}

/**
 * Whether a handler or a controller has interceptors of the app. Ours do not count: another app of the process may have
 * set them for its own registration.
 */
export function hasInterceptors(target: object): boolean {
  return interceptorsOf(target).some(
    (interceptor) => interceptor !== OutermostStandIn && !(interceptor instanceof ItemsInterceptor),
  );
}
