// From the module, not from the global: under jest's or vitest's fake timers a deadline would otherwise never pass.
import { clearTimeout, setTimeout } from 'node:timers';
import { SseTestError } from './sse-test.error.js';

export const DEFAULT_TIMEOUT_MS = 5_000;

/** setTimeout's own limit: anything above fires after 1 ms. */
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

/**
 * Returns `promise`, which may now be left alone: a test that fails half-way abandons its other waits, and their
 * later rejections would end the whole test process as unhandled. Who awaits it still gets the rejection.
 */
export function abandonable<T>(promise: Promise<T>): Promise<T> {
  promise.then(undefined, () => undefined);
  return promise;
}

/** The caller's place now, for an error that is made later, in a timer, where its own stack would say nothing. */
export function rememberCaller(calledFunction: (...args: never[]) => unknown): (error: Error) => Error {
  const place: { stack?: string } = {};
  Error.captureStackTrace(place, calledFunction);
  return (error) => {
    const frames = place.stack?.slice(place.stack.indexOf('\n')) ?? '';
    error.stack = `${error.name}: ${error.message}${frames}`;
    return error;
  };
}
