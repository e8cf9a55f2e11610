import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { defer, EMPTY } from 'rxjs';
import type { Observable } from 'rxjs';
import { connectionOf } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { ConnectionSettings } from '../connection/index.js';
import type { Reporter } from '../errors/index.js';
import { isSseHandler } from '../decorators/metadata.js';
import { SseError } from '../errors/index.js';
import type { RouteTable } from './route-table.js';
import type { SseServing } from './serving.js';

type Handler = (...args: never[]) => unknown;

/**
 * Serves `@Sse()` routes around which interceptors of the app stand. It must be the outermost: see
 * {@link SseRoutes}.
 */
export class SseInterceptor implements NestInterceptor {
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
 * Stands in the metadata of handlers and controllers for the {@link SseInterceptor} of the app that registers them.
 * Metadata is shared by all apps of a process: each app resolves this class to its own, and one that does not passes
 * everything on.
 */
export class SseRouteInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle();
  }
}
