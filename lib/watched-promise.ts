/** A promise that knows whether anybody waits for it, so that a forgotten failure can be answered. */
export class WatchedPromise<T> extends Promise<T> {
  #isWatched = false;

  static run<T>(task: () => Promise<T>): WatchedPromise<T> {
    return new WatchedPromise<T>((resolve) => resolve(task()));
  }

  // What is derived from it is a plain promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<A = T, B = never>(
    onResolved?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#isWatched = true;
    return super.then(onResolved, onRejected);
  }

  /** Called in the turn after a rejection for which nobody waits. */
  onUnwatchedRejection(listener: (error: unknown) => void): void {
    super.then(undefined, (error: unknown) => {
      setImmediate(() => {
        if (!this.#isWatched) {
          listener(error);
        }
      });
    });
  }
}
