import { Injectable, Logger } from '@nestjs/common';
import type { Reporter } from './errors/index.js';
import { reasonOf } from './errors/index.js';

/** Reports through Nest's Logger, and so through whatever logger the app has set. */
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
   * Reports are made while a stream is being ended, from events of sockets and of timers: what a
   * logger throws there would leave the stream open, or end the process.
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
