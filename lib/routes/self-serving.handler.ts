import { concatMap, defer, EMPTY, isObservable, throwError } from 'rxjs';
import type { Observable } from 'rxjs';
import { isPullable, releaseSource } from '../stream/index.js';
import { isResponse, toPlatform } from '../http/index.js';
import type { ConnectionSettings, EventStreamResponse } from '../connection/index.js';
import { show, SseError } from '../errors/index.js';
import { exceptionOf } from '../sse.failure.js';
import { itemsOf } from './items.interceptor.js';
import type { Injection } from './preparation.js';
import { isThenable } from './returned-source.js';
import type { SseServing } from './serving.js';

type Handler = (...args: unknown[]) => unknown;

/**
 * Makes a handler that serves itself, for a route without interceptors. There Nest awaits the handler before it sends
 * the headers. With any interceptor, ours included, it does not: a 404 that the handler throws after a query would
 * reach the client as a 200.
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
      // Called by the app itself, such as from a hook of a module that starts.
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
 * Makes Nest wait for the handler, so that an error keeps its status. It stops waiting when something needs the
 * headers: Nest sends them only after the handler, and the handler may await what needs them.
 */
function answerLater(
  returned: Promise<unknown>,
  connection: EventStreamResponse,
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

/** Makes an Observable of what a handler that is still busy will return. */
function eventsOf(returned: Promise<unknown>, connection: EventStreamResponse): Observable<unknown> {
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

function fail(error: unknown, connection: EventStreamResponse, serving: SseServing): unknown {
  if (connection.hasBegun) {
    return serving.answer(
      connection,
      throwError(() => error),
    );
  }
  connection.release();
  throw exceptionOf(error);
}

function answerWith(result: unknown, connection: EventStreamResponse, serving: SseServing): unknown {
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
  // Nest refuses this value with an error of its own.
  connection.release();
  return result;
}
