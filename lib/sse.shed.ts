import { ServiceUnavailableException } from '@nestjs/common';
import type { Platform } from './connection/index.js';

/** The answer to a request that is shed and cannot be told within an event stream to come back. */
export function shedException(platform: Platform, retryMs: number): ServiceUnavailableException {
  platform.setHeader('Retry-After', String(Math.max(1, Math.ceil(retryMs / 1000))));
  return new ServiceUnavailableException(
    'Too many event streams are open, or the server is closing. Try again later.',
  );
}
