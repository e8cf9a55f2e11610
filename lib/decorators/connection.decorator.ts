import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext, PipeTransform } from '@nestjs/common';
import { eventStreamOf } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { Platform } from '../http/index.js';
import type { EventStreamResponse, SseConnection } from '../connection/index.js';
import { SseError } from '../errors/index.js';
import { ADMISSION, CONNECTION_PARAMETER } from './metadata.js';

/**
 * Injects the {@link SseConnection} of the request into a parameter of an `@Sse()` handler. On any other handler it
 * fails the start of the app, with an `SseError`, `misuse`: use `SseService.connect(res)` there.
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
      hideType(target, name, index);
    }
    inject(lastPipe)(target, name, index);
  };
}

// The metadata key under which TypeScript emits the types of parameters.
const PARAMETER_TYPES = 'design:paramtypes';

/** Connections on their way through the pipes of a parameter, by ticket. */
const onTheWay = new Map<string, SseConnection>();

/**
 * Passes a ticket, a text, through the pipes of the app in place of the connection. The last pipe, ours, exchanges it
 * for the connection. The connection itself cannot pass: a pipe that validates or rebuilds its value would copy it.
 */
const inject: (pipe: PipeTransform) => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext): string => {
    const platform = toPlatform(context.switchToHttp().getResponse());
    const admit = Reflect.getMetadata(ADMISSION, context.getHandler()) as
      ((platform: Platform) => EventStreamResponse) | undefined;
    const response = eventStreamOf(platform.raw) ?? admit?.(platform);
    if (!response) {
      throw new SseError(
        'module-missing',
        '@Connection() needs SseModule.forRoot() in the imports of the app, with enhanceSseRoutes on.',
      );
    }
    // Only letters, digits and hyphens: no trim, no change of case and no sanitizer alters it.
    const ticket = `sse-connection-${response.forApp.id}`;
    onTheWay.set(ticket, response.forApp);
    response.whenClosed(() => forgetLater(ticket));
    return ticket;
  },
);

const lastPipe: PipeTransform = {
  transform(ticket: unknown): SseConnection {
    const connection = onTheWay.get(ticket as string);
    if (!connection) {
      throw new SseError(
        'misuse',
        'A pipe of the app has changed the value of a parameter with @Connection(). Have it leave texts that begin ' +
          'with "sse-connection-" alone, or leave out parameters of the type "custom".',
      );
    }
    onTheWay.delete(ticket as string);
    return connection;
  },
};

// How long a ticket outlives its connection: a pipe may still wait for a database when the client leaves.
const PIPES_MS = 30_000;

/** Deletes a ticket that our pipe has not exchanged: another pipe may have thrown before it. */
function forgetLater(ticket: string): void {
  if (onTheWay.has(ticket)) {
    setTimeout(() => onTheWay.delete(ticket), PIPES_MS).unref();
  }
}

/**
 * Hides the type of the parameter. A pipe that transforms by type, such as `ValidationPipe`, would make a new object of
 * the class.
 */
function hideType(target: object, name: string | symbol, index: number): void {
  const types = Reflect.getOwnMetadata(PARAMETER_TYPES, target, name) as unknown[] | undefined;
  if (types) {
    Reflect.defineMetadata(PARAMETER_TYPES, types.with(index, Object), target, name);
  }
}
