import { performance } from 'node:perf_hooks';
// Imported from the module: under the fake timers of a test runner, a deadline on the global timers would never pass.
import { clearTimeout, setTimeout } from 'node:timers';
import { SseTestError } from './sse-test.error.js';

export const DEFAULT_TIMEOUT_MS = 5_000;

/** Node fires a longer timer after 1 ms. */
const MAX_TIMEOUT_MS = 2_147_483_647;

export function checkTimeout(timeoutMs: number): number {
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new SseTestError(
      'argument-invalid',
      `timeoutMs must be a number of milliseconds above 0 and up to ${MAX_TIMEOUT_MS}, got ${String(timeoutMs)}.`,
    );
  }
  return timeoutMs;
}

/**
 * Calls `passed` after `timeoutMs`, in real time.
 *
 * @returns a function that cancels it
 */
export function startDeadline(timeoutMs: number, passed: () => void): () => void {
  const timer = setTimeout(passed, timeoutMs);
  return () => clearTimeout(timer);
}

/** Returns milliseconds since the epoch, in real time, from a clock that never steps back. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * Marks a promise as one that may be ignored. A test that fails half-way abandons its other waits. Without a listener,
 * their rejections would end the whole test process. A caller that awaits the promise still gets the rejection.
 */
export function abandonable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/**
 * Remembers the caller, for an error that is made later, in a timer or a socket event. There the stack would not lead
 * to the test; with it, the runner shows the line of the test.
 *
 * @param ownFrames - number of functions of this package on the stack, up from the one that calls this
 */
export function rememberCaller(ownFrames = 1): <E extends Error>(error: E) => E {
  const place: { stack?: string } = {};
  Error.captureStackTrace(place, rememberCaller);
  return (error) => {
    const frames = (place.stack ?? '').split('\n').slice(1 + ownFrames);
    error.stack = [`${error.name}: ${error.message}`, ...frames].join('\n');
    return error;
  };
}
