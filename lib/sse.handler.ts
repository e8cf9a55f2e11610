import { EMPTY, isObservable, throwError } from 'rxjs';
import { isPullable, isResponse, releaseSource, toPlatform } from './connection/index.js';
import type { ConnectionSettings, SseConnection } from './connection/index.js';
import { itemsOf } from './sse.items.interceptor.js';
import type { Injection } from './sse.preparation.js';
import type { SseServing } from './sse.serving.js';

type Handler = (...args: unknown[]) => unknown;

/**
 * A handler that serves itself, for an app without interceptors. Nest awaits a handler there before
 * it sends the headers. With one interceptor it does not, be it ours, and a 404 that the handler
 * throws after a look into the database would reach the client as a 200.
 */
export function serveByItself(
  handler: Handler,
  { count, responseAt }: Injection,
  settings: ConnectionSettings,
  serving: SseServing,
): Handler {
  return function (this: unknown, ...args: unknown[]): unknown {
    const response = args[responseAt];
    if (!isResponse(response)) {
      // The app's own call, from a hook of a module that starts.
      return handler.apply(this, args);
    }
    const connection = serving.admit(toPlatform(response), settings);
    if (connection.isClosed) {
      return serving.answer(connection, EMPTY);
    }
    const answer = (result: unknown) => answerWith(result, connection, serving);
    const fail = (error: unknown) => {
      if (connection.hasBegun) {
        return serving.answer(
          connection,
          throwError(() => error),
        );
      }
      connection.release();
      throw error;
    };
    try {
      const result = handler.apply(this, args.slice(0, count));
      return isThenable(result) ? Promise.resolve(result).then(answer, fail) : answer(result);
    } catch (error) {
      return fail(error);
    }
  };
}

function answerWith(result: unknown, connection: SseConnection, serving: SseServing): unknown {
  if (connection.isClosed) {
    // Nest subscribes to nothing once the client has left.
    releaseSource(result, connection.reporter);
    return serving.answer(connection, EMPTY);
  }
  if (isPullable(result)) {
    return serving.answer(connection, itemsOf(result, connection));
  }
  if (isObservable(result)) {
    return serving.answer(connection, result);
  }
  // Nest refuses it, with its own words.
  connection.release();
  return result;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}
