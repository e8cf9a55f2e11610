/**
 * Handles what a method of a response returned. A wrapper may have made the method `async`, and its unhandled rejection
 * would crash the process.
 */
export function watchAnswer(answer: unknown, onRejected: (error: unknown) => void): void {
  if (typeof (answer as PromiseLike<unknown> | null | undefined)?.then === 'function') {
    Promise.resolve(answer).catch(onRejected);
  }
}
