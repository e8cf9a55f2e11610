import { SseError } from '../errors/index.js';

const AGAIN_MS = 100;

/**
 * Repeats a task while the engine is unavailable, for a time at most.
 *
 * @param task - gets the milliseconds that are left. Its result undefined means: again
 * @param options.isFinal - whether the cause of `log-unavailable` will not pass: a wrong password
 * @throws the error of the last try that had enough time
 */
export async function untilAvailable<T>(
  task: (leftMs: number) => Promise<T | undefined>,
  options: { timeoutMs: number; pause: (ms: number) => Promise<void>; isFinal: (cause: unknown) => boolean },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  let last: SseError | undefined;
  for (;;) {
    try {
      const result = await task(Math.max(1, deadline - performance.now()));
      if (result !== undefined) {
        return result;
      }
    } catch (error) {
      const isAway = error instanceof SseError && error.code === 'log-unavailable';
      if (!isAway || options.isFinal(error.cause)) {
        throw error;
      }
      if (performance.now() + AGAIN_MS >= deadline) {
        // The last attempt had less time than the others. The failure before it says more.
        throw last ?? error;
      }
      last = error;
    }
    await options.pause(AGAIN_MS);
  }
}
