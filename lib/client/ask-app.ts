const APP_WAIT_MS = 30_000;

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
  canceled?.addEventListener('abort', stop);
  try {
    return await unlessAborted(ask(asking.signal), asking.signal, `nothing within ${APP_WAIT_MS} ms`);
  } finally {
    clearTimeout(timer);
    canceled?.removeEventListener('abort', stop);
  }
}

/** Waits for a promise; rejects once the signal aborts, since the promise may never settle. */
export function unlessAborted<T>(promise: T | Promise<T>, signal: AbortSignal, why?: string): Promise<T> {
  let stop!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new Error(why));
  });
  signal.addEventListener('abort', stop);
  if (signal.aborted) {
    stop();
  }
  return Promise.race([aborted, promise]).finally(() => signal.removeEventListener('abort', stop));
}
