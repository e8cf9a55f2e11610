/**
 * A promise that reports its rejection if no caller handles it. Unhandled, a rejection would crash the process.
 *
 * `then(next)` and `finally(task)` derive a promise that rejects with the same error: it is watched, too. If it rejects
 * with another error, that error belongs to the caller and stays an unhandled rejection.
 */
export class WatchedPromise<T> extends Promise<T> {
  #isWatched = false;
  #report: ((error: unknown) => void) | undefined;

  /** @param report - called in the turn after an unhandled rejection */
  static run<T>(task: () => Promise<T>, report: (error: unknown) => void): WatchedPromise<T> {
    const promise = new WatchedPromise<T>((resolve) => resolve(task()));
    promise.#watch(report, (error) => report(error));
    return promise;
  }

  // Derived promises are plain promises, unless `#handOn` watches them.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<A = T, B = never>(
    onResolved?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#isWatched = true;
    const derived = super.then(onResolved, onRejected);
    // An `await` passes both handlers, and must cost no further promise.
    return typeof onRejected === 'function' ? derived : this.#handOn(derived);
  }

  override finally(onSettled?: (() => void) | null): Promise<T> {
    return this.#handOn(super.finally(onSettled));
  }

  #handOn<D>(derived: Promise<D>): Promise<D> {
    const report = this.#report;
    if (!report) {
      return derived;
    }
    let failure: { readonly error: unknown } | undefined;
    super.then(undefined, (error: unknown) => {
      failure = { error };
    });
    const watched = new WatchedPromise<D>((resolve) => resolve(derived));
    watched.#watch(report, (error) => {
      if (failure && failure.error === error) {
        report(error);
      } else {
        leaveToNode(error);
      }
    });
    return watched;
  }

  #watch(report: (error: unknown) => void, onUnwatched: (error: unknown) => void): void {
    this.#report = report;
    super.then(undefined, (error: unknown) => {
      setImmediate(() => {
        if (!this.#isWatched) {
          onUnwatched(error);
        }
      });
    });
  }
}

/** Raises an unhandled rejection. */
function leaveToNode(reason: unknown): void {
  void Promise.reject(reason);
}
