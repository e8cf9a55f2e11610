import { HttpException, Inject, Injectable, InternalServerErrorException } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { RepeatedReport, SseError } from './errors/index.js';
import type { Platform } from './http/index.js';
import { keysFrom, NO_KEYS } from './limits/index.js';
import { RESOLVED_OPTIONS } from './sse.module-definition.js';
import type { ResolvedOptions } from './sse.options.js';
import { SseReporter } from './sse.reporter.js';
import { ticketOf } from './sse.tickets.js';

/** Finds out to whom a connection belongs, by the app's `keyOf`. */
@Injectable()
export class ConnectionKeys {
  readonly #keyOf: ResolvedOptions['keyOf'];
  readonly #adapterHost: HttpAdapterHost;
  readonly #reporter: SseReporter;
  readonly #reports: RepeatedReport;
  #hasWarned = false;
  #withoutKey = 0;

  constructor(
    @Inject(RESOLVED_OPTIONS) { keyOf }: ResolvedOptions,
    @Inject(HttpAdapterHost) adapterHost: HttpAdapterHost,
    @Inject(SseReporter) reporter: SseReporter,
  ) {
    this.#keyOf = keyOf;
    this.#adapterHost = adapterHost;
    this.#reporter = reporter;
    this.#reports = new RepeatedReport(reporter);
  }

  /** The number of connections for which `keyOf` has returned no key. */
  get withoutKey(): number {
    return this.#withoutKey;
  }

  /**
   * Asks `keyOf`, unless the request has opened with a ticket, which has keys of its own. Call it once for each request,
   * after its guards.
   *
   * @returns the keys; none if the app has set no `keyOf`
   * @throws InternalServerErrorException if `keyOf` throws, or returns what is no key; an HttpException of `keyOf` passes
   * @throws SseError `misuse` for Node's response of a Fastify app
   */
  of(platform: Platform): readonly string[] {
    const ticket = ticketOf(platform.request);
    if (ticket) {
      return ticket.keys;
    }
    if (!this.#keyOf) {
      return NO_KEYS;
    }
    this.#refuseRawReply(platform);
    const keys = this.#ask(platform);
    if (keys.length === 0) {
      this.#withoutKey += 1;
      this.#warnOfNone(platform);
    }
    return keys;
  }

  #ask({ request, route }: Platform): readonly string[] {
    const keyOf = this.#keyOf;
    try {
      return keysFrom(keyOf?.(request));
    } catch (error) {
      if (error instanceof HttpException) {
        throw error;
      }
      this.#reports.error(
        'keyOf',
        `keyOf failed for a client of ${route}, who was answered with a 500.`,
        error,
      );
      // Not the error itself: sendSseMessage() is called from timers, and answers an HttpException alone.
      throw new InternalServerErrorException(undefined, { cause: error });
    }
  }

  /** Fastify's guards set the user on Fastify's request. Node's request has none. */
  #refuseRawReply({ request, rawRequest }: Platform): void {
    if (request === rawRequest && this.#adapterHost.httpAdapter?.getType() === 'fastify') {
      throw new SseError(
        'misuse',
        "keyOf reads the user from the request, and Node's own response of a Fastify app leads to no request that a " +
          'guard has seen. Pass the reply as @Res() gives it, not its .raw.',
      );
    }
  }

  #warnOfNone({ route }: Platform): void {
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      this.#reporter.warn(
        `keyOf returned no key for a client of ${route}. Such a connection has no limit per key, and revoke() does not ` +
          'end it. If the route is public, that is right; further ones are counted, and not reported.',
      );
    }
  }
}
