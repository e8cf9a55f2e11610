import { Catch, HttpException, Inject, Injectable } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { ApplicationConfig, BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { isResponse, setReadableHeader, toPlatform } from './http/index.js';

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

/** Adds our filter behind those of the app: a filter of the app that catches everything sees the exception first. */
@Injectable()
export class TooManyFilterSetup {
  constructor(
    @Inject(ApplicationConfig) config: ApplicationConfig,
    @Inject(HttpAdapterHost) adapterHost: HttpAdapterHost,
  ) {
    // Nest asks the filter that was added last first, and those of the app are added after the constructors.
    config.addGlobalFilter(new RetryAfterFilter(adapterHost));
  }
}
