import type { ConnectionSettings } from '../connection/index.js';
import { ROUTE_OPTIONS } from '../decorators/metadata.js';
import { SseError } from '../errors/index.js';
import { resolveRouteSettings } from '../sse.options.js';
import type { SseHandlerOptions } from '../sse.options.js';
import { maxPendingDataLengthOf } from './nest-metadata.js';
import type { Route } from './route.js';

/**
 * Resolves the settings of a route: its `@SseOptions()`, else those of its controller, else those of the module.
 *
 * @param defaults - the settings of the module for `@Sse()` routes
 * @throws SseError `options-invalid`, with the name of the handler
 */
export function settingsOfRoute(
  { controller, name, handler }: Route,
  defaults: ConnectionSettings,
): ConnectionSettings {
  const route: SseHandlerOptions = {
    ...(Reflect.getMetadata(ROUTE_OPTIONS, controller) as SseHandlerOptions | undefined),
    ...(Reflect.getMetadata(ROUTE_OPTIONS, handler) as SseHandlerOptions | undefined),
  };
  try {
    // Nest counts bursts against its limit as well.
    const length = route.maxBufferedBytes === undefined ? maxPendingDataLengthOf(handler) : undefined;
    return resolveRouteSettings({ maxBufferedBytes: length, maxBurstBytes: length, ...route }, defaults);
  } catch (error) {
    if (!(error instanceof SseError)) {
      throw error;
    }
    const { code, field, message } = error;
    throw new SseError(code, `@SseOptions() of ${controller.name}.${name}: ${message}`, {
      cause: error,
      field,
    });
  }
}
