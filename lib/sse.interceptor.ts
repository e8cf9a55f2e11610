import { HttpException } from '@nestjs/common';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { Observable } from 'rxjs';
import type { Subscriber } from 'rxjs';
import { connectionOf, consume, toPlatform } from './connection/index.js';
import type {
  ConnectionRegistry,
  ConnectionSettings,
  Platform,
  RawResponse,
  Refusal,
  ResponseOwner,
  SseConnection,
} from './connection/index.js';
import { failureEvent } from './sse.failure.js';
import { shedException } from './sse.shed.js';

type Handler = (...args: never[]) => unknown;

/** The settings of each route: by its handler, which several controllers may inherit, and its controller. */
export type RouteSettings = ReadonlyMap<Handler, ReadonlyMap<unknown, ConnectionSettings>>;

/**
 * Serves the app's `@Sse()` routes through our connection. Nest commits the headers, ends the
 * response, and answers errors that come before the first event; it is handed a stream that emits
 * nothing. It must be the outermost interceptor: see {@link SseRoutes}.
 */
export class SseInterceptor implements NestInterceptor {
  readonly #settings: RouteSettings;
  readonly #registry: ConnectionRegistry;

  constructor(settings: RouteSettings, registry: ConnectionRegistry) {
    this.#settings = settings;
    this.#registry = registry;
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
    return new Observable((subscriber) => {
      const refusal = this.#registry.refusal();
      if (refusal) {
        return this.#refuse(platform, settings, refusal, subscriber);
      }
      const connection = this.#registry.admit(this.#init(platform, settings, subscriber));
      return this.#serve(connection, next.handle(), subscriber);
    });
  }

  #init(platform: Platform, settings: ConnectionSettings, subscriber: Subscriber<unknown>) {
    const owner = () => nestResponse(platform.raw, subscriber);
    return { platform, settings, owner, finite: platform.method !== 'GET' };
  }

  #serve(
    connection: SseConnection,
    events: Observable<unknown>,
    subscriber: Subscriber<unknown>,
  ): () => void {
    const fail = (error: unknown) => {
      if (connection.isClosed) {
        return;
      }
      if (!connection.hasBegun) {
        connection.release();
        subscriber.error(error);
        return;
      }
      // As in Nest's filters: what the app throws for its clients is no failure to log.
      if (!(error instanceof HttpException)) {
        connection.reporter.error('The stream of an @Sse() handler failed.', error);
      }
      connection.sendFailure(failureEvent(error));
      connection.finish('error');
    };
    const stop = consume(events, connection, {
      next: (event) => connection.send(event as object),
      error: fail,
      complete: () => connection.finish('server'),
    });
    connection.commit();
    // Nest hears of a client that left from the socket, and on HTTP/2 that outlives the response.
    void connection.over.then(() => subscriber.complete());
    return stop;
  }

  #refuse(
    platform: Platform,
    settings: ConnectionSettings,
    refusal: Refusal,
    subscriber: Subscriber<unknown>,
  ): void {
    if (platform.method === 'GET' || platform.method === 'HEAD' || platform.raw.headersSent) {
      this.#registry.turnAway(this.#init(platform, settings, subscriber), refusal);
    } else {
      subscriber.error(shedException(platform, refusal));
    }
  }
}

/** Nest commits the headers, on a timer of its own, and ends the response when its stream completes. */
function nestResponse(raw: RawResponse, subscriber: Subscriber<unknown>): ResponseOwner {
  const commit = (onHeaders: () => void): void => {
    if (raw.headersSent) {
      onHeaders();
    } else if (!raw.destroyed && !subscriber.closed) {
      setTimeout(commit, 0, onHeaders);
    }
  };
  return { commit, end: () => subscriber.complete() };
}
