import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import type { ApplicationConfig } from '@nestjs/core';
import { defer, EMPTY } from 'rxjs';
import type { Observable } from 'rxjs';
import { connectionOf } from '../connection/index.js';
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
 * Serves `@Sse()` routes around which interceptors of the app stand. It must be the outermost: see
 * {@link OutermostPosition}.
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
    // Plain routes pass here as well: this line is all that they pay of ours.
    const settings = this.#routes.find(context.getClass(), handler);
    if (settings === undefined && isSseHandler(handler)) {
      this.#reportUnknown(context.getClass().name, handler.name);
    }
    if (!settings || context.getType() !== 'http') {
      return next.handle();
    }
    const platform = toPlatform(context.switchToHttp().getResponse());
    // Another SseModule of the same app was first.
    if (connectionOf(platform.raw)) {
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

  /** Once for each route: Nest serves it, and every promise of ours is off. */
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
 * Where the {@link OutermostInterceptor} stands: before every interceptor of the app. A global one comes before those of
 * controllers and handlers, and so ours is global if the app has a global one. Else it stands in the metadata of
 * `@Sse()` routes alone, so that plain routes pay nothing.
 */
export class OutermostPosition {
  readonly #config: ApplicationConfig;
  readonly #interceptor: OutermostInterceptor;

  constructor(config: ApplicationConfig, interceptor: OutermostInterceptor) {
    this.#config = config;
    this.#interceptor = interceptor;
  }

  /**
   * Adds our interceptor to the global ones. To be called in a constructor, before Nest adds those of the app: as an
   * APP_INTERCEPTOR it would stand after them, and a serializer that strips a password from what handlers return would
   * see no event.
   */
  takeGlobal(): void {
    this.#config.addGlobalInterceptor(this.#interceptor);
  }

  /** Puts our interceptor before global ones that were added since {@link leaveGlobal}. */
  retakeGlobal(): void {
    this.#config.getGlobalInterceptors().unshift(this.#interceptor);
  }

  /** @returns whether Nest has let our interceptor go: if not, it stays global, and stands around every route */
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

  /** Has Nest find our interceptor behind the {@link OutermostStandIn} of the routes of a module. */
  takeWithin(module: Route['module']): void {
    // What stands in the metadata is ours in this app alone.
    module.addInjectable({ provide: OutermostStandIn, useValue: this.#interceptor }, 'interceptor');
  }
}

/**
 * Stands in the metadata of handlers and controllers for the {@link OutermostInterceptor} of the app that registers them.
 * Metadata is shared by all apps of a process: each app resolves this class to its own, and one that does not passes
 * everything on.
 */
export class OutermostStandIn implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle();
  }
}

/** What another app sets on a handler for its own registration stands around nothing in this one. */
export function hasInterceptors(target: object): boolean {
  return interceptorsOf(target).some(
    (interceptor) => interceptor !== OutermostStandIn && !(interceptor instanceof ItemsInterceptor),
  );
}
