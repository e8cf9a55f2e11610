import { isPullable, releaseSource } from '../stream/index.js';
import type { Reporter } from '../errors/index.js';

type Handler = (...args: unknown[]) => unknown;
type Source = AsyncIterable<unknown> | ReadableStream<unknown>;

/**
 * A source that a handler has returned, on its way through Nest to the interceptor that takes it apart. Nest 11 drops it
 * without a word if the client has left meanwhile: what is not taken in the turn in which it comes is released.
 */
export class ReturnedSource {
  #items: Source | undefined;

  constructor(items: Source, reporter: Reporter) {
    this.#items = items;
    setImmediate(() => releaseSource(this.take(), reporter));
  }

  /** @returns the source, once */
  take(): Source | undefined {
    const items = this.#items;
    this.#items = undefined;
    return items;
  }
}

/** A handler whose source is released if its client has left by the time it comes. */
export function releasingSource(handler: Handler, reporter: Reporter): Handler {
  const wrap = (result: unknown) => (isPullable(result) ? new ReturnedSource(result, reporter) : result);
  return function (this: unknown, ...args: unknown[]): unknown {
    const result = handler.apply(this, args);
    return isThenable(result) ? Promise.resolve(result).then(wrap) : wrap(result);
  };
}

/** Whether a value can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}
