import { STATUS_CODES } from 'node:http';
import { BadRequestException, HttpException } from '@nestjs/common';
import type { PublicError } from './stream/index.js';
import { MASKED_FAILURE, SseError } from './errors/index.js';

/** Whether a topic or a pattern is malformed. It nearly always comes from the request. */
export function isInvalidTopic(error: unknown): error is SseError {
  return isInstance(error, SseError) && error.code === 'topic-invalid';
}

/**
 * Turns what a handler throws into what Nest's filters are to see. An invalid pattern or topic is answered with 400,
 * which they do not log.
 */
export function exceptionOf(error: unknown): unknown {
  return isInvalidTopic(error) ? new BadRequestException(error.message, { cause: error }) : error;
}

/** Makes the event that a client receives when its stream fails after the headers: the same as of plain Nest. */
export function failureEvent(error: unknown): { type: string; data: string } {
  return { type: 'error', data: publicError(error).message };
}

/**
 * Reads what a client may know of an error, as Nest's filters do. The message of an `HttpException` is meant for the
 * client; any other error is masked.
 */
export function publicError(error: unknown): PublicError {
  try {
    return error instanceof HttpException ? shownOf(error) : MASKED_FAILURE;
  } catch {
    // Anything can be thrown, such as an exception whose methods throw. The client is told of a failure all the same.
    return MASKED_FAILURE;
  }
}

/** Whether the app meant an error for the client, so that it is no failure to log: as in Nest's filters. */
export function isMeantForClient(error: unknown): error is HttpException {
  return isInstance(error, HttpException);
}

/** Whether a value is an instance of a class. Anything can be thrown: with a revoked proxy even `instanceof` throws. */
function isInstance<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function shownOf(error: HttpException): PublicError {
  const status = error.getStatus();
  // `new UnauthorizedException(cause)` takes over the message of its cause, which was not meant for the client.
  const isMasked = error.getResponse() instanceof Error;
  return { message: isMasked ? (STATUS_CODES[status] ?? 'Error') : error.message, status };
}

/**
 * Reads what a client may know of the failure of a run. The source of a run usually calls a model. An error with an
 * HTTP status, as `openai` and `@anthropic-ai/sdk` throw it, is answered with that status but without its message.
 */
export function publicErrorOfRun(error: unknown): PublicError {
  const status = statusOf(error);
  const isStatus = typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599;
  if (!isStatus || isMeantForClient(error)) {
    return publicError(error);
  }
  return { message: STATUS_CODES[status] ?? 'Error', status };
}

function statusOf(error: unknown): unknown {
  try {
    return (error as { status?: unknown } | null | undefined)?.status;
  } catch {
    return undefined;
  }
}
