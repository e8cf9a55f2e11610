import { setImmediate, setTimeout } from 'node:timers';
import { abandonable, checkTimeout, DEFAULT_TIMEOUT_MS, rememberCaller, startDeadline } from './deadline.js';
import { SseTestError } from './sse-test.error.js';

export interface WaitForOptions {
  /**
   * How long to wait at most, in milliseconds.
   * @defaultValue 5_000
   */
  timeoutMs?: number;
  /** What is awaited, for the error: a text, or a function that is asked when the deadline has passed and can tell how far it got. */
  describe?: string | (() => string);
}

/** The first checks come turn by turn, since most conditions are met within a few; later ones spare the processor. */
const CHECKS_TURN_BY_TURN = 20;
const CHECK_EVERY_MS = 5;

/**
 * Waits until `condition` returns something truthy, and resolves to it: for what a server does in its own time after
 * the client has done its part.
 *
 * Checked at once, then each turn of the event loop, then every few milliseconds; on real timers, also while the test
 * runner's fake ones are installed. What the condition throws rejects the wait at once. Rejects with an
 * {@link SseTestError} of code `timeout` when the deadline passes.
 *
 * @example
 * await stream.close();
 * await waitFor(() => sse.connections.size === 0, { describe: () => `no connections, ${sse.connections.size} left` });
 */
export function waitFor<T>(
  condition: () => T | PromiseLike<T>,
  options: WaitForOptions = {},
): Promise<NonNullable<T>> {
  const atCaller = rememberCaller(waitFor);
  const { describe = () => condition.toString().slice(0, 200) } = options;
  return abandonable(
    new Promise((resolve, reject) => {
      const timeoutMs = checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
      let over = false;
      const cancelDeadline = startDeadline(timeoutMs, () => {
        over = true;
        const awaited = typeof describe === 'string' ? describe : describe();
        reject(atCaller(new SseTestError('timeout', `Waited ${timeoutMs} ms for: ${awaited}`)));
      });
      const settle = (act: () => void) => {
        if (over) return;
        over = true;
        cancelDeadline();
        act();
      };
      let checks = 0;
      const check = async () => {
        if (over) return;
        try {
          const value = await condition();
          if (value) {
            settle(() => resolve(value));
            return;
          }
        } catch (error) {
          settle(() => reject(error));
          return;
        }
        checks += 1;
        if (checks < CHECKS_TURN_BY_TURN) setImmediate(check);
        else setTimeout(check, CHECK_EVERY_MS);
      };
      void check();
    }),
  );
}
