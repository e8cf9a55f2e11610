import {
  ForbiddenException,
  HttpException,
  HttpStatus,
  Inject,
  Injectable,
  ServiceUnavailableException,
} from '@nestjs/common';
import { ConnectionRegistry, eventStreamOf, refusalForNow } from './connection/index.js';
import type {
  ConnectionInit,
  ClosingFrames,
  Refusal,
  EventStreamResponse,
  TurnAwayReason,
} from './connection/index.js';
import { SseError } from './errors/index.js';
import { setReadableHeader, waitsForSocket } from './http/index.js';
import type { Platform } from './http/index.js';
import { Limits } from './limits/index.js';
import { ConnectionKeys } from './sse.connection-keys.js';
import { Revalidation, Revocations } from './trust/index.js';

/** What a connection is made of, apart from what admission adds. */
type Init = Omit<ConnectionInit, 'host' | 'keys'>;

/** Admits clients, or turns them away. */
@Injectable()
export class Admission {
  readonly #registry: ConnectionRegistry;
  readonly #keys: ConnectionKeys;
  readonly #limits: Limits;
  readonly #revocations: Revocations;
  readonly #revalidation: Revalidation;

  constructor(
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(ConnectionKeys) keys: ConnectionKeys,
    @Inject(Limits) limits: Limits,
    @Inject(Revocations) revocations: Revocations,
    @Inject(Revalidation) revalidation: Revalidation,
  ) {
    this.#revalidation = revalidation;
    this.#revocations = revocations;
    this.#registry = registry;
    this.#keys = keys;
    this.#limits = limits;
  }

  /**
   * Admits a client, or turns it away if a limit on connections is reached or the app is closing. A GET is turned away
   * with an event stream that says when to reconnect: after a 503 or a 429 an EventSource does not reconnect.
   *
   * Call it once for each request, after its guards: it asks `keyOf` to whom the connection belongs.
   *
   * @param closingFrames - sent to a client that is turned away, if it would take a plain end for success
   * @returns the connection; it is closed already if the client was turned away
   * @throws ServiceUnavailableException if a request other than GET or HEAD is turned away; with the status 429, an
   * HttpException, if its key has reached a limit
   * @throws what {@link ConnectionKeys.of} and {@link refuseRevoked} throw
   */
  admit(init: Init, closingFrames?: ClosingFrames): EventStreamResponse {
    const takesPlace = waitsForSocket(init.platform.raw) === undefined;
    const refusal = this.#registry.refusal(takesPlace);
    if (refusal) {
      this.#count(refusal.reason === 'shutdown' ? 'shutdown' : 'capacity');
      return this.#turnAway(init, refusal, closingFrames, shedException);
    }
    const keys = this.#keys.of(init.platform);
    this.refuseRevoked(init.platform, keys);
    if (init.settings.revocable && !this.#revocations.isCurrent) {
      this.#count('log');
      const retryMs = Math.round(init.settings.retryMs * (1 + Math.random()));
      return this.#turnAway(init, { retryMs, reason: 'error' }, closingFrames, shedException);
    }
    const reached = this.#limits.connect(keys) ?? (takesPlace ? this.#limits.place(keys) : undefined);
    if (reached) {
      this.#count('limit');
      const { reason, retryMs } = refusalForNow();
      const comesBack = { reason, retryMs: Math.max(reached.waitMs, retryMs) };
      return this.#turnAway(init, comesBack, closingFrames, tooManyException);
    }
    const connection = this.#registry.admit({ ...init, keys });
    this.#revalidation.watch(connection);
    return connection;
  }

  /**
   * Refuses a client that belongs to a revoked key.
   *
   * @throws HttpException with the status 204 for a GET, at which an EventSource stops for good; else 403
   */
  refuseRevoked({ method, raw }: Platform, keys: readonly string[]): void {
    if (this.#revocations.isRevoked(keys)) {
      this.#count('revoked');
      const isGet = method === 'GET' || method === 'HEAD';
      throw isGet && !raw.headersSent
        ? new HttpException('', HttpStatus.NO_CONTENT)
        : new ForbiddenException('Your access has ended.');
    }
  }

  /**
   * Turns away a client that can be served later. Its stream is cut: the client of a format would take an end for the
   * end of the answer.
   *
   * @param retryMs - milliseconds after which the client may reconnect, unless all clients are shed at the moment
   */
  askToReconnect(init: Init, retryMs: number): EventStreamResponse {
    const refusal = this.#registry.refusal() ?? { retryMs, reason: 'error' };
    this.#count(refusal.reason === 'shutdown' ? 'shutdown' : 'log');
    return this.#registry.turnAway(init, refusal, () => undefined);
  }

  #count(reason: TurnAwayReason): void {
    this.#registry.counts.turnedAway[reason] += 1;
  }

  #turnAway(
    init: Init,
    refusal: Refusal,
    closingFrames: ClosingFrames | undefined,
    exceptionOf: () => HttpException,
  ): EventStreamResponse {
    const { platform } = init;
    if (platform.method === 'GET' || platform.method === 'HEAD' || platform.raw.headersSent) {
      return this.#registry.turnAway(init, refusal, closingFrames);
    }
    sayWhen(platform, refusal);
    throw exceptionOf();
  }
}

/**
 * Refuses to answer the request of an `@Sse()` route, which Nest answers.
 *
 * @throws SseError `misuse`
 */
export function refuseWithinSseRoute({ raw, route }: Platform): void {
  if (eventStreamOf(raw)?.isOfSseRoute) {
    throw new SseError(
      'misuse',
      `${route} is an @Sse() route, whose headers Nest sends after its handler: stream() and runs.attach() would wait for ` +
        'them in vain. Return the source, an AsyncIterable or an Observable, from the handler; or take the response in ' +
        'a @Get() or @Post() handler with @Res().',
    );
  }
}

/** Tells a client that does not read an event stream when to come back. */
function sayWhen(platform: Platform, { retryMs, reason }: Refusal): void {
  setReadableHeader(platform, 'Retry-After', String(Math.max(1, Math.ceil(retryMs / 1000))));
  if (reason === 'shutdown' && !platform.raw.stream) {
    // A keep-alive socket would delay the server's close() until its idle timeout.
    platform.setHeader('Connection', 'close');
  }
}

function tooManyException(): HttpException {
  return new HttpException('You have too many event streams. Try again later.', HttpStatus.TOO_MANY_REQUESTS);
}

function shedException(): ServiceUnavailableException {
  return new ServiceUnavailableException(
    'Too many event streams are open, or the server is closing. Try again later.',
  );
}
