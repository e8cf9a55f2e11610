import { STATUS_CODES } from 'node:http';
import { BadRequestException, HttpException } from '@nestjs/common';
import type { PublicError } from './stream/index.js';
import { MASKED_FAILURE, SseError } from './errors/index.js';

/**
 * What an `@Sse()` handler throws, as Nest's filters are to see it: a pattern or topic that is none comes from the
 * request in nearly all cases, and is answered with 400, which is no failure to log.
 */
export function exceptionOf(error: unknown): unknown {
  return isInstance(error, SseError) && error.code === 'topic-invalid'
    ? new BadRequestException(error.message, { cause: error })
    : error;
}

/** What a client is told of a failure after the headers: the event that plain Nest sends. */
export function failureEvent(error: unknown): { type: string; data: string } {
  return { type: 'error', data: publicError(error).message };
}

/**
 * What a client may know of an error, as in Nest's filters: an `HttpException` is what the app meant
 * for it, and of anything else nothing is told.
 */
export function publicError(error: unknown): PublicError {
  try {
    return error instanceof HttpException ? shownOf(error) : MASKED_FAILURE;
  } catch {
    // Anything can be thrown, such as an exception whose methods throw. Its client is told of a failure all the same.
    return MASKED_FAILURE;
  }
}

/** Whether an error is what the app meant for the client, and so no failure to log: as in Nest's filters. */
export function isMeantForClient(error: unknown): error is HttpException {
  return isInstance(error, HttpException);
}

/** Anything can be thrown, a revoked proxy as well, of which not even this may be asked. */
function isInstance<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function shownOf(error: HttpException): PublicError {
  const status = error.getStatus();
  // new UnauthorizedException(cause) takes over the message of an error that was not meant for the client.
  const isMasked = error.getResponse() instanceof Error;
  return { message: isMasked ? (STATUS_CODES[status] ?? 'Error') : error.message, status };
}

/**
 * The same of a run, whose source is mostly a provider's client: an error with a status of HTTP, as those of
 * `openai` and `@anthropic-ai/sdk` have, is answered with that status, and without its message.
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
