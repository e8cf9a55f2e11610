const APP_WAIT_MS = 30_000;

/** Calls the listener once the signal aborts, or now if it has. @returns a function that removes it */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  signal?.addEventListener('abort', listener);
  if (signal?.aborted) {
    listener();
  }
  return () => signal?.removeEventListener('abort', listener);
}

/**
 * Asks the app, or the server, for something that may never come.
 *
 * @param ask - receives a signal that aborts once the answer is not waited for any more
 * @returns what it gives; rejects if that takes longer than 30 s, or once `canceled` aborts
 */
export async function askApp<T>(
  ask: (signal: AbortSignal) => T | Promise<T>,
  canceled?: AbortSignal,
): Promise<T> {
  if (canceled?.aborted) {
    throw new Error('aborted');
  }
  const asking = new AbortController();
  const stop = (): void => asking.abort();
  const timer = setTimeout(stop, APP_WAIT_MS);
  const forget = onAbort(canceled, stop);
  try {
    return await unlessAborted(ask(asking.signal), asking.signal, 'nothing within 30 s');
  } finally {
    clearTimeout(timer);
    forget();
  }
}

/** Waits for a promise; rejects once the signal aborts, since the promise may never settle. */
export function unlessAborted<T>(promise: T | Promise<T>, signal: AbortSignal, why?: string): Promise<T> {
  let forget!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    forget = onAbort(signal, () => reject(new Error(why)));
  });
  return Promise.race([aborted, promise]).finally(forget);
}
