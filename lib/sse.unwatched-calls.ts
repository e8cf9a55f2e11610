import { RepeatedReport, SseError, WatchedPromise } from './errors/index.js';
import type { Reporter } from './errors/index.js';

/**
 * Watches calls whose promise the app may ignore, as in a timer or a listener. A rejection that nothing awaits is
 * logged, each kind once in ten seconds, and never ends the process.
 */
export class UnwatchedCalls {
  readonly #reports: RepeatedReport;

  constructor(reporter: Reporter) {
    this.#reports = new RepeatedReport(reporter);
  }

  /**
   * Runs a task and watches its promise.
   *
   * @param call - name of the public method, for the log
   */
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

/** Reads the code of an SseError, or of the SseError that is the cause of an exception of Nest. */
function codeOf(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  return [error, cause].find((one): one is SseError => one instanceof SseError)?.code;
}
