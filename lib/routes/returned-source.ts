import { isPullable, releaseSource } from '../stream/index.js';
import type { Reporter } from '../errors/index.js';

type Handler = (...args: unknown[]) => unknown;
type Source = AsyncIterable<unknown> | ReadableStream<unknown>;

/**
 * A source that a handler has returned, on its way through Nest to the interceptor that unpacks it. If the client has
 * left meanwhile, Nest 11 drops the source silently. A source that is not taken within the turn is therefore released.
 */
export class ReturnedSource {
  #items: Source | undefined;

  constructor(items: Source, reporter: Reporter) {
    this.#items = items;
    setImmediate(() => releaseSource(this.take(), reporter));
  }

  /** @returns the source at the first call, then undefined */
  take(): Source | undefined {
    const items = this.#items;
    this.#items = undefined;
    return items;
  }
}

/** Wraps a handler, so that its source is released if the client has left before the source arrives. */
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
