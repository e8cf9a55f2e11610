import { STATUS_CODES } from 'node:http';
import { BadRequestException, HttpException } from '@nestjs/common';
import type { PublicError } from './connection/index.js';
import { SseError } from './sse.errors.js';

/**
 * What an `@Sse()` handler throws, as Nest's filters are to see it: a pattern or topic that is none comes from the
 * request in nearly all cases, and is answered with 400, which is no failure to log.
 */
export function exceptionOf(error: unknown): unknown {
  return error instanceof SseError && error.code === 'topic-invalid'
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
  if (!(error instanceof HttpException)) {
    return { message: 'Internal server error', status: 500 };
  }
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
  const status = (error as { status?: unknown } | null | undefined)?.status;
  const isStatus = typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599;
  if (error instanceof HttpException || !isStatus) {
    return publicError(error);
  }
  return { message: STATUS_CODES[status] ?? 'Error', status };
}
