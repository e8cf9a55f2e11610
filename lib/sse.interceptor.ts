import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { defer, EMPTY } from 'rxjs';
import type { Observable } from 'rxjs';
import { connectionOf, toPlatform } from './connection/index.js';
import type { ConnectionSettings } from './connection/index.js';
import type { SseServing } from './sse.serving.js';

type Handler = (...args: never[]) => unknown;

/** The settings of each route: by its handler, which several controllers may inherit, and its controller. */
export type RouteSettings = ReadonlyMap<Handler, ReadonlyMap<unknown, ConnectionSettings>>;

/**
 * Serves `@Sse()` routes around which interceptors of the app stand. It must be the outermost: see
 * {@link SseRoutes}.
 */
export class SseInterceptor implements NestInterceptor {
  readonly #settings: RouteSettings;
  readonly #serving: SseServing;

  constructor(settings: RouteSettings, serving: SseServing) {
    this.#settings = settings;
    this.#serving = serving;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    // Plain routes pass here as well: this line is all that they pay of ours.
    const settings = this.#settings.get(context.getHandler() as Handler)?.get(context.getClass());
    if (!settings || context.getType() !== 'http') {
      return next.handle();
    }
    const platform = toPlatform(context.switchToHttp().getResponse());
    // Another SseModule of the same app was first.
    if (connectionOf(platform.raw)) {
      return next.handle();
    }
    return defer(() => {
      const connection = this.#serving.admit(platform, settings);
      return this.#serving.answer(connection, connection.isClosed ? EMPTY : next.handle());
    });
  }
}
