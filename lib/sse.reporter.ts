import { Injectable, Logger } from '@nestjs/common';
import type { Reporter } from './connection/index.js';

/** Reports through Nest's Logger, and so through whatever logger the app has set. */
@Injectable()
export class SseReporter implements Reporter {
  readonly #logger = new Logger('SseModule');

  warn(message: string): void {
    this.#logger.warn(message);
  }

  error(message: string, error: unknown): void {
    this.#logger.error(message, error instanceof Error ? error.stack : String(error));
  }

  debug(message: string): void {
    this.#logger.debug(message);
  }
}
