import { concatMap, defer, EMPTY, isObservable, throwError } from 'rxjs';
import type { Observable } from 'rxjs';
import { isPullable, releaseSource } from '../stream/index.js';
import { isResponse, toPlatform } from '../http/index.js';
import type { ConnectionSettings, SseConnection } from '../connection/index.js';
import { show, SseError } from '../errors/index.js';
import { exceptionOf } from '../sse.failure.js';
import { itemsOf } from './items.interceptor.js';
import type { Injection } from './preparation.js';
import { isThenable } from './returned-source.js';
import type { SseServing } from './serving.js';

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
    try {
      const result = handler.apply(this, args.slice(0, count));
      return isThenable(result)
        ? answerLater(Promise.resolve(result), connection, serving)
        : answerWith(result, connection, serving);
    } catch (error) {
      return fail(error, connection, serving);
    }
  };
}

/**
 * Has Nest wait for a handler, so that an error keeps its status, for as long as nothing waits for the headers: Nest
 * sends those after the handler, which may itself wait for what follows them.
 */
function answerLater(
  returned: Promise<unknown>,
  connection: SseConnection,
  serving: SseServing,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    const answerBy = (answer: () => unknown): void => {
      if (!isAnswered) {
        isAnswered = true;
        try {
          resolve(answer());
        } catch (error) {
          reject(error);
        }
      }
    };
    returned.then(
      (result) => {
        if (isAnswered && connection.isClosed) {
          releaseSource(result, connection.reporter);
        }
        answerBy(() => answerWith(result, connection, serving));
      },
      (error: unknown) => answerBy(() => fail(error, connection, serving)),
    );
    serving.whenWanted(connection, () =>
      answerBy(() => serving.answer(connection, eventsOf(returned, connection))),
    );
  });
}

/** The events of a handler that is still busy. */
function eventsOf(returned: Promise<unknown>, connection: SseConnection): Observable<unknown> {
  return defer(() => returned).pipe(
    concatMap((result) => {
      if (isPullable(result)) {
        return itemsOf(result, connection);
      }
      if (!isObservable(result)) {
        throw new SseError(
          'misuse',
          'An @Sse() handler returns an Observable, an AsyncIterable or a ReadableStream, or EMPTY if it has sent all ' +
            `of its events itself. Got ${show(result)}.`,
        );
      }
      return result;
    }),
  );
}

function fail(error: unknown, connection: SseConnection, serving: SseServing): unknown {
  if (connection.hasBegun) {
    return serving.answer(
      connection,
      throwError(() => error),
    );
  }
  connection.release();
  throw exceptionOf(error);
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
