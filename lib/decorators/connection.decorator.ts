import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext } from '@nestjs/common';
import { connectionOf, toPlatform } from '../connection/index.js';
import type { Platform, SseConnection } from '../connection/index.js';
import { SseError } from '../sse.errors.js';
import { ADMISSION, CONNECTION_PARAMETER } from './metadata.js';

const inject: () => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext): SseConnection => {
    const platform = toPlatform(context.switchToHttp().getResponse());
    const admit = Reflect.getMetadata(ADMISSION, context.getHandler()) as
      ((platform: Platform) => SseConnection) | undefined;
    const connection = connectionOf(platform.raw) ?? admit?.(platform);
    if (!connection) {
      throw new SseError(
        'module-missing',
        '@Connection() needs SseModule.forRoot() in the imports of the app, with enhanceSseRoutes on.',
      );
    }
    return connection;
  },
);

/**
 * A parameter with the {@link SseConnection} of the request, in a handler with `@Sse()`. In any
 * other, the app does not start: there, use `SseService.connect(res)`.
 *
 * @example
 * ```ts
 * @Sse('prices')
 * prices(@Connection() connection: SseConnection) {
 *   return this.prices.pipe(tap({ unsubscribe: () => console.log(connection.id, 'left') }));
 * }
 * ```
 */
export function Connection(): ParameterDecorator {
  return (target, name, index) => {
    if (name !== undefined) {
      Reflect.defineMetadata(CONNECTION_PARAMETER, true, target, name);
    }
    inject()(target, name, index);
  };
}
