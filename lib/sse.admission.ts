import { ServiceUnavailableException } from '@nestjs/common';
import type { Platform } from './http/index.js';
import type { Refusal } from './connection/index.js';

/** The answer to a request that is shed and cannot be told within an event stream to come back. */
export function shedException(platform: Platform, { retryMs, reason }: Refusal): ServiceUnavailableException {
  platform.setHeader('Retry-After', String(Math.max(1, Math.ceil(retryMs / 1000))));
  if (reason === 'shutdown' && !platform.raw.stream) {
    // Kept alive, its socket would hold up the server's close() for as long as it may idle.
    platform.setHeader('Connection', 'close');
  }
  return new ServiceUnavailableException(
    'Too many event streams are open, or the server is closing. Try again later.',
  );
}
