import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

/** An interceptor of the app that does nothing, and has the module serve the routes around it. */
export class Through implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

/**
 * For `describe.each(served)('on $name', …)`: the platforms, each for an app without interceptors, whose handlers the
 * module has serve themselves, and for one that has one.
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
