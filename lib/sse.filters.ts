import { Catch, HttpException, Inject, Injectable } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { ApplicationConfig, BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import type { Reporter, SseError } from './errors/index.js';
import { isResponse, setReadableHeader, toPlatform } from './http/index.js';
import { exceptionOf, isInvalidTopic } from './sse.failure.js';
import { SseReporter } from './sse.reporter.js';

/** The answer to a call that was refused by a limit. An app may catch it like every `HttpException`. */
export class TooManyException extends HttpException {
  /** Seconds after which the client may try again. */
  readonly retryAfterSeconds: number;

  constructor(message: string, status: number, options: { retryAfterMs: number; cause: unknown }) {
    super({ statusCode: status, message }, status, { cause: options.cause });
    this.message = message;
    this.retryAfterSeconds = Math.max(1, Math.ceil(options.retryAfterMs / 1000));
  }
}

/**
 * Adds `Retry-After` to the answer of Nest's own filter. A call such as `runs.start()` knows no response, and an
 * exception carries no headers.
 */
@Catch(TooManyException)
class RetryAfterFilter implements ExceptionFilter {
  readonly #adapterHost: HttpAdapterHost;

  constructor(adapterHost: HttpAdapterHost) {
    this.#adapterHost = adapterHost;
  }

  catch(exception: TooManyException, host: ArgumentsHost): void {
    if (host.getType() !== 'http') {
      throw exception;
    }
    const response: unknown = host.switchToHttp().getResponse();
    if (isResponse(response)) {
      const platform = toPlatform(response);
      if (!platform.raw.headersSent) {
        setReadableHeader(platform, 'Retry-After', String(exception.retryAfterSeconds));
      }
    }
    new BaseExceptionFilter(this.#adapterHost.httpAdapter).catch(exception, host);
  }
}

/** The errors of {@link InvalidTopicFilter}, as Nest asks for them: by `instanceof`. */
class InvalidTopic {
  static [Symbol.hasInstance](error: unknown): boolean {
    return isInvalidTopic(error);
  }
}

/** Answers a malformed topic or pattern as an `@Sse()` route does. Nest's own filter would log it, with its stack. */
@Catch(InvalidTopic)
class InvalidTopicFilter implements ExceptionFilter {
  readonly #adapterHost: HttpAdapterHost;
  readonly #reporter: Reporter;

  constructor(adapterHost: HttpAdapterHost, reporter: Reporter) {
    this.#adapterHost = adapterHost;
    this.#reporter = reporter;
  }

  catch(exception: SseError, host: ArgumentsHost): void {
    if (host.getType() !== 'http') {
      throw exception;
    }
    const response: unknown = host.switchToHttp().getResponse();
    if (isResponse(response) && toPlatform(response).raw.headersSent) {
      // The client cannot get a status any more. The line helps a developer who has made the mistake to find it.
      this.#reporter.debug(`A stream that had begun was ended: ${exception.message}`);
    }
    new BaseExceptionFilter(this.#adapterHost.httpAdapter).catch(exceptionOf(exception), host);
  }
}

/** Adds our filters behind those of the app: a filter of the app that catches everything sees an exception first. */
@Injectable()
export class FilterSetup {
  constructor(
    @Inject(ApplicationConfig) config: ApplicationConfig,
    @Inject(HttpAdapterHost) adapterHost: HttpAdapterHost,
    @Inject(SseReporter) reporter: SseReporter,
  ) {
    // Nest asks the filter that was added last first, and those of the app are added after the constructors.
    config.addGlobalFilter(new RetryAfterFilter(adapterHost));
    config.addGlobalFilter(new InvalidTopicFilter(adapterHost, reporter));
  }
}
