import type { Readable } from 'node:stream';
import { isObservable, Subscription, UnsubscriptionError } from 'rxjs';
import type { Observable, Observer } from 'rxjs';
import { reasonOf, show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';

/** What can be streamed to a client. */
export type StreamItems<T = unknown> = AsyncIterable<T> | ReadableStream<T> | Observable<T>;

/** Where the items of a source go: a connection, or a run. */
export interface ItemSink {
  readonly reporter: Reporter;
  /** Calls once when nothing more is taken; at once where that is so. */
  whenClosed(listener: () => void): void;
  /** Resolves when more is taken. */
  drained(): Promise<void>;
}

/** What consumes the items of a source. */
export interface ItemConsumer {
  /** A throw ends the source, and comes back through `error`. */
  next(item: unknown): void;
  error(error: unknown): void;
  complete(): void;
}

/** One item at a time; `stop` may be called while `pull` is waiting. */
interface Pull {
  next(): Promise<IteratorResult<unknown>>;
  stop(): unknown;
}

/**
 * Feeds a source's items to a consumer for as long as the sink is open. An AsyncIterable or
 * a ReadableStream is pulled as the sink takes them; an Observable cannot be paused.
 *
 * @returns stops the source; it is stopped by itself when the sink closes
 */
export function consume(items: unknown, sink: ItemSink, consumer: ItemConsumer): () => void {
  if (isObservable(items)) {
    return subscribe(items, sink, consumer);
  }
  return pullAll(toPull(items), sink, consumer);
}

/**
 * Releases a source that nothing will read, such as one that an async handler gives after its client has left. An
 * Observable that nobody has subscribed to holds nothing.
 */
export function releaseSource(items: unknown, reporter: Reporter): void {
  if (isPullable(items)) {
    stopPull(() => toPull(items).stop(), reporter);
  }
}

/** Whether a value is pulled item by item: an AsyncIterable or a ReadableStream. */
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
 * An observer that is its own subscription: a source that emits without end while it is subscribed
 * to gives back none, and asks its observer. A class, not a handful of functions and what rxjs makes
 * of them: each open stream keeps one.
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
    // rxjs would report a throw to nobody, in a turn of its own.
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
    // The app's teardown may throw, and this is called from events of the socket, where nobody catches.
    try {
      this.unsubscribe();
    } catch (error) {
      this.#sink.reporter.error('The teardown of an Observable failed.', causeOf(error));
    }
  }
}

/** What a teardown threw: rxjs gathers it into an error whose stack says nothing of it. */
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
 * Stops a source. Not awaited: a generator that waits in next() takes return() only after it. The signal, which is
 * aborted by now, is what ends such a wait; what it then rejects with is of no interest.
 */
function stopPull(stop: () => unknown, reporter: Reporter): void {
  // A throw of the app's becomes a rejection: this is called from events of the socket, where nobody catches.
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
      // Reaches the producer also while a read is waiting, which the stream's own iterator does not.
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
 * Tells an iterable in every way it knows that no more is wanted. A generator that waits for its next item takes
 * `return()` only after it, and so does a Node stream: those end by `destroy()`, `cancel()` or `Symbol.asyncDispose`.
 */
async function stopIterable(items: object, iterator: AsyncIterator<unknown>): Promise<void> {
  // Each in a call of its own: one that throws keeps no other from being called.
  await Promise.all([stopSource(items), stopIterator(iterator)]);
}

async function stopSource(items: object): Promise<void> {
  if (hasMethod(items, 'destroy')) {
    if (hasMethod(items, 'on')) {
      // Never read from, it has no listener, and its error, such as that of an aborted signal, would end the process.
      (items as unknown as Readable).on('error', () => undefined);
    }
    await items.destroy();
  } else if (hasMethod(items, 'cancel')) {
    await items.cancel();
  } else if (hasMethod(items, Symbol.asyncDispose)) {
    await items[Symbol.asyncDispose]();
  }
}

/** A `close()` counts on the iterator alone: a client that is shared by all requests may have one, and is iterable. */
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
