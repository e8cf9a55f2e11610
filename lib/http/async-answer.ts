/**
 * Watches a method of a response that a wrapper has made `async`: what it rejects with would be a rejection that nothing
 * handles, and end the process.
 */
export function watchAnswer(answer: unknown, onRejected: (error: unknown) => void): void {
  if (typeof (answer as PromiseLike<unknown> | null | undefined)?.then === 'function') {
    Promise.resolve(answer).catch(onRejected);
  }
}
