import { ServiceUnavailableException } from '@nestjs/common';
import { connectionOf } from './connection/index.js';
import type {
  ConnectionInit,
  ConnectionRegistry,
  LastWords,
  Refusal,
  SseConnection,
} from './connection/index.js';
import { SseError } from './errors/index.js';
import type { Platform } from './http/index.js';

type Init = Omit<ConnectionInit, 'host'>;

/**
 * Lets a client in, or turns it away: the limit on connections is reached, or the app is closing. A GET is turned away
 * within an event stream that says when to come back, since an EventSource stops for good at a 503.
 *
 * @param lastWords - what a client that is turned away is told, if it would take a plain end for success
 * @returns the connection; it is closed already if the client was turned away
 * @throws ServiceUnavailableException if a request other than GET or HEAD is turned away
 */
export function admit(registry: ConnectionRegistry, init: Init, lastWords?: LastWords): SseConnection {
  const refusal = registry.refusal();
  if (!refusal) {
    return registry.admit(init);
  }
  const { platform } = init;
  if (platform.method === 'GET' || platform.method === 'HEAD' || platform.raw.headersSent) {
    return registry.turnAway(init, refusal, lastWords);
  }
  throw shedException(platform, refusal);
}

/**
 * Turns away a client that is to be let in later, with a stream that is cut: the client of a format would take an end
 * for that of the answer.
 *
 * @param retryMs - when it may come back, unless the app sheds every client by now
 */
export function askToReconnect(registry: ConnectionRegistry, init: Init, retryMs: number): SseConnection {
  return registry.turnAway(init, registry.refusal() ?? { retryMs, reason: 'error' }, () => undefined);
}

/**
 * Refuses what answers a request by itself in an `@Sse()` handler, whose response Nest answers.
 *
 * @throws SseError `misuse`
 */
export function refuseWithinSseRoute({ raw, route }: Platform): void {
  if (connectionOf(raw)?.isOfSseRoute) {
    throw new SseError(
      'misuse',
      `${route} is an @Sse() route, whose headers Nest sends after its handler: stream() and runs.attach() would wait for ` +
        'them in vain. Return the source, an AsyncIterable or an Observable, from the handler; or take the response in ' +
        'a @Get() or @Post() handler with @Res().',
    );
  }
}

/** The answer to a request that is shed and cannot be told within an event stream to come back. */
function shedException(platform: Platform, { retryMs, reason }: Refusal): ServiceUnavailableException {
  platform.setHeader('Retry-After', String(Math.max(1, Math.ceil(retryMs / 1000))));
  if (reason === 'shutdown' && !platform.raw.stream) {
    // Kept alive, its socket would hold up the server's close() for as long as it may idle.
    platform.setHeader('Connection', 'close');
  }
  return new ServiceUnavailableException(
    'Too many event streams are open, or the server is closing. Try again later.',
  );
}
