import { Injectable, Logger } from '@nestjs/common';
import type { Reporter } from './errors/index.js';
import { reasonOf } from './errors/index.js';

/** Reports through Nest's Logger, and so through the logger that the app has set. */
@Injectable()
export class SseReporter implements Reporter {
  readonly #logger = new Logger('SseModule');

  warn(message: string): void {
    this.#report(message, () => this.#logger.warn(message));
  }

  error(message: string, error: unknown): void {
    this.#report(message, () =>
      this.#logger.error(message, error instanceof Error ? error.stack : reasonOf(error)),
    );
  }

  log(message: string): void {
    this.#report(message, () => this.#logger.log(message));
  }

  debug(message: string): void {
    this.#report(message, () => this.#logger.debug(message));
  }

  /**
   * Calls the logger of the app, which may throw. Reports are made while streams end, and from events of sockets and
   * timers: a throw there would leave the stream open, or end the process.
   */
  #report(message: string, log: () => void): void {
    try {
      log();
    } catch (error) {
      const why = error instanceof Error ? error.message : typeof error;
      process.emitWarning(`The app's logger threw (${why}) when it was told: ${message}`, 'SseModule');
    }
  }
}
