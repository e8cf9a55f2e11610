import { clearImmediate, clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { abandonable, checkTimeout, DEFAULT_TIMEOUT_MS, rememberCaller, startDeadline } from './deadline.js';
import { SseTestError } from './sse-test.error.js';

/**
 * Waits until `condition` returns something truthy, and resolves with it. Use it for work that a server
 * does after the client has finished, such as closing a connection.
 *
 * The condition is checked at once, then in each turn of the event loop, then every 5 ms. This is real time, also under
 * the fake timers of a test runner. What the condition throws rejects the promise at once.
 *
 * @throws SseTestError `timeout` when the deadline has passed; `argument-invalid`
 *
 * @example
 * await stream.close();
 * await waitFor(() => sse.connections.size === 0, { describe: () => `${sse.connections.size} connections to go` });
 */
export function waitFor<T>(
  condition: () => T | PromiseLike<T>,
  options: WaitForOptions = {},
): Promise<NonNullable<T>> {
  const atCaller = rememberCaller();
  return abandonable(
    new Promise((resolve, reject) => {
      const timeoutMs = checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
      let cancelNextCheck: (() => void) | undefined;
      let settled = false;
      const settle = () => {
        settled = true;
        cancelDeadline();
        cancelNextCheck?.();
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const cancelDeadline = startDeadline(timeoutMs, () => {
        try {
          const awaited = describeCondition(condition, options.describe);
          fail(atCaller(new SseTestError('timeout', `Waited ${timeoutMs} ms for ${awaited}.`)));
        } catch (error) {
          fail(error);
        }
      });
      const check = async (checks: number) => {
        const value = await condition();
        if (settled) {
          return;
        }
        if (value) {
          settle();
          resolve(value);
          return;
        }
        cancelNextCheck = later(checks, () => void check(checks + 1).catch(fail));
      };
      check(0).catch(fail);
    }),
  );
}

export interface WaitForOptions {
  /**
   * How long to wait at most, in milliseconds.
   * @defaultValue 5_000
   */
  timeoutMs?: number;
  /**
   * Description of what is awaited, for the error. A function is called when the deadline has passed, so that it can
   * tell the progress.
   */
  describe?: string | (() => string);
}

/**
 * Checks in the first turns of the event loop, in which most conditions are met. Later checks are further apart, so
 * that they do not keep the processor busy.
 */
const CHECKS_TURN_BY_TURN = 20;
const CHECK_EVERY_MS = 5;

function later(checks: number, next: () => void): () => void {
  if (checks < CHECKS_TURN_BY_TURN) {
    const immediate = setImmediate(next);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(next, CHECK_EVERY_MS);
  return () => clearTimeout(timer);
}

function describeCondition(condition: () => unknown, describe: WaitForOptions['describe']): string {
  if (typeof describe === 'function') {
    return describe();
  }
  return describe ?? `the condition ${condition.toString().replace(/\s+/g, ' ').slice(0, 200)}`;
}
