import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';

/** What a client is told of a failure after the headers: the event that plain Nest sends. */
export function failureEvent(error: unknown): { type: string; data: string } {
  return { type: 'error', data: publicMessage(error) };
}

// As Nest does in its filters: only what the app meant for the client reaches it.
function publicMessage(error: unknown): string {
  if (!(error instanceof HttpException)) {
    return 'Internal server error';
  }
  // new UnauthorizedException(cause) takes over the message of an error that was not meant for the client.
  return error.getResponse() instanceof Error ? (STATUS_CODES[error.getStatus()] ?? 'Error') : error.message;
}
