/** A promise, and the function that resolves it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

/** @param value - the promise is resolved with it at once, if given */
export function deferred<T>(value: T | undefined): Deferred<T> {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  if (value !== undefined) {
    resolve(value);
  }
  return { promise, resolve };
}
