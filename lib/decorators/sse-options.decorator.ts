import { SetMetadata } from '@nestjs/common';
import type { SseRouteOptions } from '../sse.options.js';
import { ROUTE_OPTIONS } from './metadata.js';

/**
 * Options of one `@Sse()` route, or of all those of a controller; the route's win over the
 * controller's, and those over the module's. They are checked when the app starts. Elsewhere than
 * on an `@Sse()` route the app does not start: hand the options to `SseService.connect(res, options)`.
 *
 * @example
 * ```ts
 * @Sse('prices')
 * @SseOptions({ heartbeatMs: 5_000, maxConnectionMs: 280_000 })
 * prices() { … }
 * ```
 */
export function SseOptions(options: SseRouteOptions): MethodDecorator & ClassDecorator {
  return SetMetadata(ROUTE_OPTIONS, options);
}
