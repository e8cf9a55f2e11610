import { SetMetadata } from '@nestjs/common';
import type { SseHandlerOptions } from '../sse.options.js';
import { ROUTE_OPTIONS } from './metadata.js';

/**
 * Sets options of one `@Sse()` route, or of all `@Sse()` routes of a controller. Options of a route override those of
 * its controller, which override those of the module. They are checked when the app starts: a value out of its range
 * fails the start with an `SseError`, `options-invalid`. On a handler or a controller without `@Sse()` it fails the
 * start with `misuse`: pass the options to `SseService.connect(res, options)` there.
 *
 * @example
 * ```ts
 * @Sse('prices')
 * @SseOptions({ heartbeatMs: 5_000, maxConnectionMs: 280_000 })
 * prices() { … }
 * ```
 */
export function SseOptions(options: SseHandlerOptions): MethodDecorator & ClassDecorator {
  return SetMetadata(ROUTE_OPTIONS, options);
}
