import type { CloseReason, EventStreamResponse } from '../connection/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import { eventsOf, closingFramesOf } from './format.js';
import type { StreamFailure, StreamFormat } from './format.js';
import { framesOfEnding, framesOfFailure } from './closing-frames.js';
import { consume } from './source.js';
import type { StreamItems } from './source.js';

/**
 * Makes the source of a stream. It is called once, with a signal that aborts when the client leaves. Pass the signal on
 * to the code that produces the items: nothing else stops a generator that is waiting.
 */
export type StreamSource<T = unknown> = (context: {
  signal: AbortSignal;
}) => StreamItems<T> | Promise<StreamItems<T>>;

/** The end of a stream. */
export interface StreamEnd {
  /**
   * `done`: the source came to its end, and all of it has left this process. Otherwise the reason why the connection
   * closed.
   */
  reason: 'done' | CloseReason;
  /** The number of items sent. */
  events: number;
  /** UTF-8 bytes of the frames sent, including the closing frames. */
  bytes: number;
  /** The error of the source, if the reason is `error`. */
  error?: unknown;
}

/** The part of an error that a client may know. */
export type PublicError = Pick<StreamFailure, 'message' | 'status'>;

/** The settings and services of one stream. */
export interface StreamContext {
  wheel: DeadlineWheel;
  publicError: (error: unknown) => PublicError;
  /** The format of the stream. Without one, the items are events, or data. */
  format?: StreamFormat;
  /** The name of the event that is sent at the end. It is not set beside a format, which has its own closing frames. */
  doneEvent?: string;
}

/**
 * How long the headers may wait for the first item, in milliseconds. Heroku allows 30 s to the first byte, and other
 * routers allow less. A user sees nothing before it.
 */
export const FIRST_BYTE_MS = 3_000;

/**
 * Streams a source to a connection that has not committed its headers. The headers wait for the first item, 3 s at
 * most, so that an early failure can still be answered with its own status.
 *
 * @throws the error of the source if it fails before the headers are out; the response is then untouched
 */
export async function streamTo(
  connection: EventStreamResponse,
  source: StreamSource,
  { wheel, publicError, format, doneEvent }: StreamContext,
): Promise<StreamEnd> {
  let events = 0;
  const ending = (reason: StreamEnd['reason']): StreamEnd => ({
    reason,
    events,
    bytes: connection.bytesSent,
  });
  if (format) {
    connection.endWith(framesOfEnding(format, connection.reporter));
  }
  let commit: Deadline | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      connection.whenClosed(() => resolve());
      commit = wheel.schedule(FIRST_BYTE_MS, () => attempt(() => connection.commit(), reject));
      const consumer = {
        next: (item: unknown) => {
          const { bytesSent } = connection;
          if (format) {
            eventsOf(format.encode(item)).forEach((event) => connection.sendPart(event));
          } else {
            connection.sendPart(item as object);
          }
          events += connection.bytesSent > bytesSent ? 1 : 0;
          connection.commit();
        },
        error: reject,
        complete: resolve,
      };
      Promise.resolve(source({ signal: connection.signal }))
        .then((items) => consume(items, connection, consumer))
        .catch(reject);
    });
    if ((format || doneEvent !== undefined) && !connection.isClosed) {
      // Encoded here: if the format throws, the stream fails as if the source had thrown.
      const frames = closingFramesOf(format ? format.done() : { type: doneEvent, data: {} });
      connection.endWith(() => frames);
    }
  } catch (error) {
    // A source is expected to fail when it is aborted. The stream ends for the reason for which the connection closed.
    if (connection.isClosed) {
      return ending(await connection.closed);
    }
    if (!connection.hasHeadersOut) {
      connection.release();
      throw error;
    }
    connection.reporter.error('A stream failed after its headers were sent.', error);
    sendFailure(connection, { reason: 'error', ...publicError(error) }, format);
    return { ...ending('error'), error };
  } finally {
    wheel.cancel(commit);
  }
  if (connection.isClosed) {
    return ending(await connection.closed);
  }
  connection.finish('server');
  return ending((await connection.disposed) ? 'done' : 'client');
}

/** Tells the client that the stream has failed, and ends it, so that the client does not take the end for success. */
function sendFailure(
  connection: EventStreamResponse,
  failure: StreamFailure,
  format: StreamFormat | undefined,
): void {
  if (format) {
    connection.endWith(framesOfFailure(format, connection.reporter, failure));
    connection.finish('error');
    return;
  }
  connection.sendFailure({ type: 'error', data: failure.message });
  connection.cut('error');
}

function attempt(task: () => void, onError: (error: unknown) => void): void {
  try {
    task();
  } catch (error) {
    onError(error);
  }
}
