import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

/** An interceptor of the app that does nothing. It makes the module serve the routes by its own interceptor. */
export class Through implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

/**
 * For `describe.each(served)('on $name', …)`: each platform twice. One app has no interceptor, so that its handlers
 * serve themselves; the other has one.
 */
export const served: Platform[] = platforms.flatMap((platform) => [
  platform,
  {
    ...platform,
    name: `${platform.name} with an interceptor of the app`,
    create: (module, { configure, ...options } = {}) =>
      platform.create(module, {
        ...options,
        configure: async (app) => {
          app.useGlobalInterceptors(new Through());
          await configure?.(app);
        },
      }),
  },
]);
