import { CONNECTION_PARAMETER, ROUTE_OPTIONS } from '../decorators/metadata.js';
import { SseError } from '../errors/index.js';
import { isSseHandler } from './nest-metadata.js';
import type { Route } from './route.js';

const HAND_OPTIONS_OVER =
  'Hand the options to SseService.connect(res, options) or stream(res, source, options) instead.';

/**
 * Refuses to start an app in which `@Connection()` or `@SseOptions()` has no effect.
 *
 * @param enhanceSseRoutes - the option of the module: whether this package serves `@Sse()` routes
 * @throws SseError `misuse`
 */
export function refuseMisplacedDecorators(routes: readonly Route[], enhanceSseRoutes: boolean): void {
  routes.forEach((route) => refuseOnHandler(route, enhanceSseRoutes));
  refuseOnControllers(routes, enhanceSseRoutes);
}

function refuseOnHandler({ controller, name, handler }: Route, enhanceSseRoutes: boolean): void {
  const isServed = isSseHandler(handler) && enhanceSseRoutes;
  if (isServed) {
    return;
  }
  const why = enhanceSseRoutes ? 'is no @Sse() route' : 'is left to Nest by enhanceSseRoutes: false';
  if (Reflect.hasMetadata(CONNECTION_PARAMETER, controller.prototype as object, name)) {
    throw new SseError(
      'misuse',
      `${controller.name}.${name} has a parameter with @Connection() and ${why}. ` +
        'Take the response with @Res() and call SseService.connect(res) instead.',
    );
  }
  if (Reflect.hasMetadata(ROUTE_OPTIONS, handler)) {
    throw new SseError(
      'misuse',
      `${controller.name}.${name} has @SseOptions() and ${why}. ${HAND_OPTIONS_OVER}`,
    );
  }
}

/**
 * Refuses `@SseOptions()` on a controller without a route that they apply to: limits that the app relies on would not
 * hold.
 */
function refuseOnControllers(routes: readonly Route[], enhanceSseRoutes: boolean): void {
  for (const controller of new Set(routes.map((route) => route.controller))) {
    const hasSseRoute = routes.some(
      (route) => route.controller === controller && isSseHandler(route.handler),
    );
    if (Reflect.hasOwnMetadata(ROUTE_OPTIONS, controller) && !(hasSseRoute && enhanceSseRoutes)) {
      const why = hasSseRoute ? 'its routes are left to Nest by enhanceSseRoutes: false' : 'no @Sse() route';
      throw new SseError('misuse', `${controller.name} has @SseOptions() and ${why}. ${HAND_OPTIONS_OVER}`);
    }
  }
}
