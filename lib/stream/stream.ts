import type { CloseReason, EventStreamResponse } from '../connection/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import { eventsOf, closingFramesOf } from './format.js';
import type { StreamFailure, StreamFormat } from './format.js';
import { framesOfEnding, framesOfFailure } from './closing-frames.js';
import { consume } from './source.js';
import type { StreamItems } from './source.js';

/**
 * Makes what is streamed: called once, with a signal that aborts when the client leaves. Hand the
 * signal to whatever produces, since a generator that waits can be stopped by nothing else.
 */
export type StreamSource<T = unknown> = (context: {
  signal: AbortSignal;
}) => StreamItems<T> | Promise<StreamItems<T>>;

/** How a stream ended. */
export interface StreamEnd {
  /**
   * `done`: the source came to its end, and all of it has left this process. Otherwise why the
   * connection closed.
   */
  reason: 'done' | CloseReason;
  /** Items sent. */
  events: number;
  /** UTF-8 bytes of their frames, and of those that tell the client of a failure, or of the end. */
  bytes: number;
  /** What the source failed with, where the reason is `error`. */
  error?: unknown;
}

/** What a client may know of an error. */
export type PublicError = Pick<StreamFailure, 'message' | 'status'>;

/** What `streamTo` needs around it. */
export interface StreamContext {
  wheel: DeadlineWheel;
  publicError: (error: unknown) => PublicError;
  /** Absent where the items are events, or data, as they are. */
  format?: StreamFormat;
  /** The name of the event that tells the end; never beside a format, which has closing frames of its own. */
  doneEvent?: string;
}

/**
 * How long headers may wait for the first item, in milliseconds. Heroku allows 30 s to the first byte, other routers
 * less, and a user sees nothing before it.
 */
export const FIRST_BYTE_MS = 3_000;

/**
 * Streams a source to a connection that has not committed its headers: they wait for the first
 * item, 3 s at most, so that an early failure can still be answered with its own status.
 *
 * @throws what the source failed with before the headers were out; the response is untouched
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
      // Made here: what it throws is told like other failures of the stream.
      const frames = closingFramesOf(format ? format.done() : { type: doneEvent, data: {} });
      connection.endWith(() => frames);
    }
  } catch (error) {
    // A producer that was aborted fails, as it should: the connection's own reason is what happened.
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

/** Ends a stream with the word that it has failed, so that its end is no success. */
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
