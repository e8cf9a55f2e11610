import type { Readable } from 'node:stream';
import { isObservable, Subscription, UnsubscriptionError } from 'rxjs';
import type { Observable, Observer } from 'rxjs';
import { reasonOf, show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';

/** A source of items that can be streamed to a client. */
export type StreamItems<T = unknown> = AsyncIterable<T> | ReadableStream<T> | Observable<T>;

/** The destination of the items of a source: a connection, or a run. */
export interface ItemSink {
  readonly reporter: Reporter;
  /** Calls a listener once when the sink takes no more items. If it is closed already, the call comes at once. */
  whenClosed(listener: () => void): void;
  /** Resolves when the sink takes more. */
  drained(): Promise<void>;
}

/** The consumer of the items of a source. */
export interface ItemConsumer {
  /** Takes an item. If it throws, the source is stopped, and `error` is called with what was thrown. */
  next(item: unknown): void;
  error(error: unknown): void;
  complete(): void;
}

/** A source that is pulled item by item. `stop` may be called while `next` is waiting. */
interface Pull {
  next(): Promise<IteratorResult<unknown>>;
  stop(): unknown;
}

/**
 * Feeds the items of a source to a consumer while the sink is open. An AsyncIterable or a ReadableStream is pulled as
 * the sink takes its items. An Observable cannot be paused.
 *
 * @returns a function that stops the source. The source is also stopped when the sink closes
 */
export function consume(items: unknown, sink: ItemSink, consumer: ItemConsumer): () => void {
  if (isObservable(items)) {
    return subscribe(items, sink, consumer);
  }
  return pullAll(toPull(items), sink, consumer);
}

/**
 * Releases a source that will not be read, such as one that an async handler returns after its client has left. An
 * Observable without a subscriber holds nothing.
 */
export function releaseSource(items: unknown, reporter: Reporter): void {
  if (isPullable(items)) {
    stopPull(() => toPull(items).stop(), reporter);
  }
}

/** Returns whether a value is pulled item by item: an AsyncIterable or a ReadableStream. */
export function isPullable(value: unknown): value is AsyncIterable<unknown> | ReadableStream<unknown> {
  return hasMethod(value, Symbol.asyncIterator) || hasMethod(value, 'getReader');
}

function subscribe(items: Observable<unknown>, sink: ItemSink, consumer: ItemConsumer): () => void {
  const subscribed = new SubscribedItems(sink, consumer);
  const stop = () => subscribed.stop();
  sink.whenClosed(stop);
  if (!subscribed.closed) {
    subscribed.add(items.subscribe(subscribed));
  }
  return stop;
}

/**
 * An observer that is its own subscription. A source may emit without end within `subscribe()`, before that call
 * returns a subscription: only the observer can tell it to stop. This is a class to save memory: each open stream keeps
 * one, and functions would cost a closure each beside the objects of rxjs.
 */
class SubscribedItems extends Subscription implements Observer<unknown> {
  readonly #sink: ItemSink;
  readonly #consumer: ItemConsumer;

  constructor(sink: ItemSink, consumer: ItemConsumer) {
    super();
    this.#sink = sink;
    this.#consumer = consumer;
  }

  next(item: unknown): void {
    if (this.closed) {
      return;
    }
    // rxjs would throw the error in a later turn, where the stream cannot catch it.
    try {
      this.#consumer.next(item);
    } catch (error) {
      this.stop();
      this.#consumer.error(error);
    }
  }

  error(error: unknown): void {
    if (!this.closed) {
      this.#consumer.error(error);
      this.stop();
    }
  }

  complete(): void {
    if (!this.closed) {
      this.#consumer.complete();
      this.stop();
    }
  }

  stop(): void {
    // The app's teardown may throw. Socket events call this: an uncaught error would end the process.
    try {
      this.unsubscribe();
    } catch (error) {
      this.#sink.reporter.error('The teardown of an Observable failed.', causeOf(error));
    }
  }
}

/** Returns the error of a teardown. rxjs wraps it in an error whose stack does not show where it was thrown. */
function causeOf(error: unknown): unknown {
  return error instanceof UnsubscriptionError ? (error.errors[0] as unknown) : error;
}

function pullAll(pull: Pull, sink: ItemSink, consumer: ItemConsumer): () => void {
  let isStopped = false;
  const stop = () => {
    if (!isStopped) {
      isStopped = true;
      stopPull(() => pull.stop(), sink.reporter);
    }
  };
  const fail = (error: unknown) => {
    if (!isStopped) {
      stop();
      consumer.error(error);
    }
  };
  const run = async () => {
    while (!isStopped) {
      const result = await pull.next();
      if (isStopped) {
        return;
      }
      if (result.done) {
        isStopped = true;
        consumer.complete();
        return;
      }
      consumer.next(result.value);
      await sink.drained();
    }
  };
  sink.whenClosed(stop);
  run().catch(fail);
  return stop;
}

/**
 * Stops a source, without waiting for it: a generator that waits in `next()` takes `return()` only afterwards. The
 * signal, which has been aborted by now, ends such a wait. An error that follows from this is only logged.
 */
function stopPull(stop: () => unknown, reporter: Reporter): void {
  // An error of the app becomes a rejection. Socket events call this: an uncaught error would end the process.
  const stopping = async () => stop();
  void stopping().catch((error: unknown) =>
    reporter.debug(`A source that was stopped answered with: ${reasonOf(error)}`),
  );
}

function toPull(items: unknown): Pull {
  if (hasMethod(items, 'getReader')) {
    const reader = (items as unknown as ReadableStream<unknown>).getReader();
    return {
      next: async () => {
        const { done, value } = await reader.read();
        return { done, value } as IteratorResult<unknown>;
      },
      // cancel() reaches the source even while a read is waiting. The stream's own iterator does not.
      stop: () => reader.cancel(),
    };
  }
  if (hasMethod(items, Symbol.asyncIterator)) {
    const iterator = (items as unknown as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    return { next: () => iterator.next(), stop: () => stopIterable(items, iterator) };
  }
  throw new SseError(
    'misuse',
    `A source gives an AsyncIterable, a ReadableStream or an Observable, got ${show(items)}. ` +
      'Did you forget to call the generator, or to return its result?',
  );
}

/**
 * Stops an iterable in every way that it supports. A generator or a Node stream that waits for its next item takes
 * `return()` only afterwards; `destroy()`, `cancel()` or `Symbol.asyncDispose` end the wait.
 */
async function stopIterable(items: object, iterator: AsyncIterator<unknown>): Promise<void> {
  // Each is an async function: if one throws, the other still runs.
  await Promise.all([stopSource(items), stopIterator(iterator)]);
}

async function stopSource(items: object): Promise<void> {
  if (hasMethod(items, 'destroy')) {
    if (hasMethod(items, 'on')) {
      // A stream that was never read has no error listener: its error, for example after an abort, would end the
      // process.
      (items as unknown as Readable).on('error', () => undefined);
    }
    await items.destroy();
  } else if (hasMethod(items, 'cancel')) {
    await items.cancel();
  } else if (hasMethod(items, Symbol.asyncDispose)) {
    await items[Symbol.asyncDispose]();
  }
}

/**
 * Stops an iterator. Only the iterator's own `close()` is called, not that of the iterable: the iterable may be a
 * client that all requests share.
 */
async function stopIterator(iterator: AsyncIterator<unknown>): Promise<void> {
  if (hasMethod(iterator, 'return')) {
    await iterator.return();
  } else if (hasMethod(iterator, 'close')) {
    await iterator.close();
  }
}

function hasMethod<K extends PropertyKey>(value: unknown, name: K): value is Record<K, () => unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Record<PropertyKey, unknown>)[name] === 'function'
  );
}
