import { performance } from 'node:perf_hooks';
// From the module, not from the globals: under a test runner's fake timers a deadline would never pass.
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

/** Calls `passed` after `timeoutMs`, in real time; returns what cancels it. */
export function startDeadline(timeoutMs: number, passed: () => void): () => void {
  const timer = setTimeout(passed, timeoutMs);
  return () => clearTimeout(timer);
}

/** Milliseconds since the epoch, in real time, from a clock that never steps back. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * Returns `promise`, which may now be left alone: a test that fails half-way abandons its other waits, and when they
 * reject, nobody having listened, the whole test process would end. Who awaits it gets the rejection as ever.
 */
export function abandonable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/**
 * Remembers who called, for an error that will be made in a timer or a socket's event, where its own stack would lead
 * nowhere: the runner then shows the test's line. `ownFrames` is how many functions of ours lie between, up from the
 * one that calls this.
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
