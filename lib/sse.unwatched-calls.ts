import { RepeatedReport, SseError, WatchedPromise } from './errors/index.js';
import type { Reporter } from './errors/index.js';

/**
 * Calls whose promise may be left alone, as in a timer or a listener: a rejection that nobody waits for is logged,
 * each kind once in ten seconds, and never ends the process.
 */
export class UnwatchedCalls {
  readonly #reports: RepeatedReport;

  constructor(reporter: Reporter) {
    this.#reports = new RepeatedReport(reporter);
  }

  /** @param call the name of what was called, for the log */
  watch<T>(call: string, task: () => Promise<T>): Promise<T> {
    return WatchedPromise.run(task, (error) => this.#report(call, error));
  }

  #report(call: string, error: unknown): void {
    const code = codeOf(error);
    const kind = `${call} ${code}`;
    if (code === 'closed') {
      this.#reports.warn(kind, `${call} came too late, and nothing awaits it: the app is shutting down.`);
      return;
    }
    this.#reports.error(kind, `${call} failed, and nothing awaits it.`, error);
  }
}

/** Of what was thrown, or of what an exception of Nest's was made of. */
function codeOf(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  return [error, cause].find((one): one is SseError => one instanceof SseError)?.code;
}
