const APP_WAIT_MS = 30_000;

/**
 * Asks the app for something that may never come.
 *
 * @param ask - receives a signal that aborts once the answer is not waited for any more
 * @returns what it gives; rejects if that takes longer than 30 s, or once `canceled` aborts
 */
export async function askApp<T>(
  ask: (signal: AbortSignal) => T | Promise<T>,
  canceled: AbortSignal,
): Promise<T> {
  canceled.throwIfAborted();
  const waiting = new AbortController();
  const cancel = (): void => waiting.abort(canceled.reason);
  const timer = setTimeout(() => waiting.abort(new Error(`nothing within ${APP_WAIT_MS} ms`)), APP_WAIT_MS);
  canceled.addEventListener('abort', cancel);
  try {
    return await unlessAborted(ask(waiting.signal), waiting.signal);
  } finally {
    clearTimeout(timer);
    canceled.removeEventListener('abort', cancel);
  }
}

/** Waits for a promise; rejects with the signal's reason once that aborts, since the promise may never settle. */
export function unlessAborted<T>(promise: T | Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) {
      stop();
    }
    signal.addEventListener('abort', stop);
    // Not resolved with the promise itself: of one that hangs the abort must win.
    void Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', stop));
  });
}
