import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { CONNECTION_SETTINGS, createRegistry, StreamServer } from '../../test/support/apps/stream-server.js';
import { from, Observable, of } from 'rxjs';
import type { EventStreamResponse } from '../connection/index.js';
import { ConnectionRegistry } from '../connection/registry.js';
import { toPlatform } from '../http/platform.js';
import { consume, isPullable, releaseSource } from './source.js';
import type { ItemConsumer } from './source.js';

/** A consumer that keeps its items, and throws at the item `fail`. */
class Consumer implements ItemConsumer {
  readonly items: unknown[] = [];
  readonly errors: unknown[] = [];
  completions = 0;

  next(item: unknown) {
    this.items.push(item);
    if (item === 'fail') {
      throw new Error('refused');
    }
  }

  error(error: unknown) {
    this.errors.push(error);
  }

  complete() {
    this.completions += 1;
  }
}

/** An iterator that yields what the test pushes, and counts how often it is stopped. */
class FedIterator implements AsyncIterable<unknown>, AsyncIterator<unknown> {
  returns = 0;
  asked = 0;
  #feed: ((result: IteratorResult<unknown>) => void) | undefined;

  [Symbol.asyncIterator]() {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    this.asked += 1;
    return new Promise((resolve) => {
      this.#feed = resolve;
    });
  }

  async feed(value: unknown, done = false): Promise<void> {
    await waitFor(() => this.#feed);
    const feed = this.#feed!;
    this.#feed = undefined;
    feed({ done, value } as IteratorResult<unknown>);
    await turn();
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.returns += 1;
    return { done: true, value: undefined };
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('consume', () => {
  let server: StreamServer;
  let registry: ConnectionRegistry;
  let stream: SseTestStream;
  let connection: EventStreamResponse;
  let consumer: Consumer;
  let reported: string[];

  beforeEach(async () => {
    reported = [];
    consumer = new Consumer();
    registry = createRegistry({
      reporter: {
        warn: (message) => reported.push(`warn ${message}`),
        error: (message, error) => reported.push(`error ${message} ${String(error)}`),
        debug: (message) => reported.push(`debug ${message}`),
      },
    });
    server = await StreamServer.listen((_req, res) => {
      connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: false,
      });
      connection.commit();
    });
    stream = await server.open();
  });

  afterEach(async () => {
    await stream.close();
    await server.close();
    await waitFor(() => registry.size === 0);
  });

  describe('of an AsyncIterable', () => {
    it('asks for one item at a time', async () => {
      const iterator = new FedIterator();
      consume(iterator, connection, consumer);

      await iterator.feed('a');
      await iterator.feed('b');
      expect(consumer.items).toEqual(['a', 'b']);
      expect(iterator.asked).toBe(3);
      await iterator.feed(undefined, true);

      expect(consumer.completions).toBe(1);
      expect(iterator.returns).toBe(0);
    });

    it('stops it once when the connection closes, and drops an item that comes after', async () => {
      const iterator = new FedIterator();
      const stop = consume(iterator, connection, consumer);
      await iterator.feed('a');

      connection.forApp.close();
      stop();
      await iterator.feed('late');

      expect(consumer).toMatchObject({ items: ['a'], errors: [], completions: 0 });
      expect(iterator).toMatchObject({ returns: 1, asked: 2 });
    });

    it('stops it when an item is refused, and reports the refusal alone', async () => {
      const iterator = new FedIterator();
      consume(iterator, connection, consumer);

      await iterator.feed('fail');
      connection.forApp.close();
      await turn();

      expect(consumer.errors).toEqual([new Error('refused')]);
      expect(iterator).toMatchObject({ returns: 1, asked: 1 });
    });

    it('does not stop one twice that has failed, and reports no failure after the close', async () => {
      const failing = (async function* () {
        yield 'a';
        throw new Error('broken');
      })();
      consume(failing, connection, consumer);
      await waitFor(() => consumer.errors.length > 0);
      connection.forApp.close();
      await turn();

      expect(consumer).toMatchObject({ items: ['a'], errors: [new Error('broken')], completions: 0 });
      expect(reported).toEqual([]);
    });

    it('asks for nothing if the connection has closed', async () => {
      const iterator = new FedIterator();
      connection.forApp.close();

      consume(iterator, connection, consumer);
      await turn();

      expect(iterator).toMatchObject({ returns: 1, asked: 0 });
      expect(consumer).toMatchObject({ items: [], errors: [], completions: 0 });
    });

    it.each<[string, () => unknown]>([
      [
        'throws',
        () => {
          throw new Error('in return');
        },
      ],
      ['rejects', async () => Promise.reject(new Error('in return'))],
    ])('bears a return() that %s', async (_how, returns) => {
      const iterator = Object.assign(new FedIterator(), { return: returns });
      consume(iterator, connection, consumer);
      const closed: unknown[] = [];
      connection.whenClosed((reason) => closed.push(reason));

      connection.forApp.close();
      await turn();

      expect(closed).toEqual(['server']);
      expect(consumer.errors).toEqual([]);
      expect(reported).toEqual(['debug A source that was stopped answered with: Error: in return']);
    });

    it('needs no return()', async () => {
      const iterator = Object.assign(new FedIterator(), { return: undefined });
      consume(iterator, connection, consumer);

      connection.forApp.close();
      await turn();

      expect(reported).toEqual([]);
    });
  });

  describe('of a ReadableStream', () => {
    it('cancels it when the connection closes while it is asked for an item', async () => {
      let cancels = 0;
      const items = new ReadableStream({ cancel: () => void (cancels += 1) });
      consume(items, connection, consumer);
      await turn();

      connection.forApp.close();
      await turn();

      expect(cancels).toBe(1);
      expect(consumer).toMatchObject({ items: [], errors: [], completions: 0 });
    });

    it('throws if another reader has locked it', () => {
      const items = new ReadableStream();
      items.getReader();

      expect(() => consume(items, connection, consumer)).toThrow('locked');
    });
  });

  describe('of a Readable', () => {
    it('destroys one that was never read, and ignores its error', async () => {
      const abort = new AbortController();
      const items = new Readable({ objectMode: true, read: () => undefined, signal: abort.signal });
      connection.forApp.close();

      abort.abort();
      consume(items, connection, consumer);
      await new Promise((resolve) => items.once('close', resolve));

      expect(items.destroyed).toBe(true);
      expect(consumer).toMatchObject({ items: [], errors: [], completions: 0 });
    });
  });

  describe('of an Observable', () => {
    it('passes on items, and the end', () => {
      consume(of('a', 'b'), connection, consumer);

      expect(consumer).toMatchObject({ items: ['a', 'b'], errors: [], completions: 1 });
    });

    it('unsubscribes once when the connection closes', () => {
      let teardowns = 0;
      consume(new Observable(() => () => void (teardowns += 1)), connection, consumer);

      connection.forApp.close();

      expect(teardowns).toBe(1);
      expect(consumer).toMatchObject({ items: [], errors: [], completions: 0 });
    });

    it('stops one that emits without end within subscribe()', () => {
      let emitted = 0;
      const endless = (function* () {
        for (;;) {
          emitted += 1;
          if (emitted === 5) {
            connection.forApp.close();
          }
          yield emitted;
        }
      })();

      consume(from(endless), connection, consumer);

      expect(consumer.items).toEqual([1, 2, 3, 4]);
      expect(consumer.completions).toBe(0);
      expect(emitted).toBeLessThan(8);
    });

    it('reports an item that is refused, and unsubscribes', () => {
      let teardowns = 0;
      const items = new Observable((subscriber) => {
        subscriber.next('fail');
        subscriber.next('never');
        return () => void (teardowns += 1);
      });

      consume(items, connection, consumer);

      expect(consumer).toMatchObject({ items: ['fail'], errors: [new Error('refused')], completions: 0 });
      expect(teardowns).toBe(1);
    });

    it('does not subscribe if the connection has closed', () => {
      let subscriptions = 0;
      connection.forApp.close();

      consume(new Observable(() => void (subscriptions += 1)), connection, consumer);

      expect(subscriptions).toBe(0);
    });

    it('reports a teardown that throws, and closes all the same', () => {
      const items = new Observable(() => () => {
        throw new Error('in a teardown');
      });
      consume(items, connection, consumer);
      const closed: unknown[] = [];
      connection.whenClosed((reason) => closed.push(reason));

      connection.forApp.close();

      expect(closed).toEqual(['server']);
      expect(reported).toEqual([expect.stringMatching(/^error .*in a teardown/)]);
    });
  });

  describe('of a source that waits, when the client leaves', () => {
    /** Makes a generator that waits for ever, and takes a `return()` only afterwards. */
    const waiting = () => ({
      stopped: [] as string[],
      async *[Symbol.asyncIterator]() {
        yield await new Promise(() => undefined);
      },
    });
    const adding = <T extends { stopped: string[] }>(source: T, ...names: (string | symbol)[]): T =>
      Object.assign(
        source,
        Object.fromEntries(names.map((name) => [name, () => void source.stopped.push(String(name))])),
      );

    it.each<[string, (string | symbol)[], string[]]>([
      ['destroy()', ['destroy'], ['destroy']],
      ['cancel()', ['cancel'], ['cancel']],
      ['Symbol.asyncDispose', [Symbol.asyncDispose], [String(Symbol.asyncDispose)]],
      ['one of several', ['cancel', 'destroy', Symbol.asyncDispose], ['destroy']],
      ['no close(), which may be that of a shared client', ['close'], []],
    ])('calls %s', async (_, names, stopped) => {
      const items = adding(waiting(), ...names);
      consume(items, connection, consumer);
      await turn();

      connection.forApp.close();
      await turn();

      expect(items.stopped).toEqual(stopped);
    });

    it.each<[string, string[], string[]]>([
      ['return()', ['return'], ['return']],
      ['return() rather than close()', ['return', 'close'], ['return']],
      ['close(), where it has no return()', ['close'], ['close']],
      ['destroy() as well', ['return', 'destroy'], ['destroy', 'return']],
    ])('calls %s of an iterator', async (_, names, stopped) => {
      const items = {
        stopped: [] as string[],
        next: () => new Promise<IteratorResult<unknown>>(() => undefined),
        [Symbol.asyncIterator]() {
          return this;
        },
      };
      consume(adding(items, ...names), connection, consumer);
      await turn();

      connection.forApp.close();
      await turn();

      expect(items.stopped).toEqual(stopped);
    });

    it('calls return() even if destroy() throws', async () => {
      const items = Object.assign(new FedIterator(), {
        destroy() {
          throw new Error('in destroy');
        },
      });
      consume(items, connection, consumer);

      connection.forApp.close();
      await turn();

      expect(items.returns).toBe(1);
      expect(reported).toEqual(['debug A source that was stopped answered with: Error: in destroy']);
    });
  });

  describe('releaseSource', () => {
    const release = async (items: unknown) => {
      releaseSource(items, connection.reporter);
      await turn();
    };

    it('stops an iterator, and asks it for nothing', async () => {
      const iterator = new FedIterator();
      await release(iterator);
      expect(iterator).toMatchObject({ returns: 1, asked: 0 });
    });

    it('cancels a ReadableStream', async () => {
      let cancels = 0;
      await release(new ReadableStream({ cancel: () => void (cancels += 1) }, { highWaterMark: 0 }));
      expect(cancels).toBe(1);
    });

    it('destroys a Readable', async () => {
      const readable = new Readable({ read: () => undefined });
      await release(readable);
      expect(readable.destroyed).toBe(true);
    });

    it('does not subscribe to an Observable, and ignores a value that is no source', async () => {
      let subscriptions = 0;
      await release(new Observable(() => void (subscriptions += 1)));
      await release(undefined);
      await release({ close: () => (subscriptions += 1) });
      expect(subscriptions).toBe(0);
    });

    it('ignores a stream that another reader has locked', async () => {
      const items = new ReadableStream();
      items.getReader();
      await release(items);
      expect(reported).toEqual([expect.stringContaining('locked')]);
    });
  });

  it.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    ['text', '"text"'],
    [['a'], 'an array'],
    [(x: unknown) => x, 'a function'],
    [{ a: 1 }, 'an object'],
  ])('says what it wants instead of %p', (items, shown) => {
    expect(() => consume(items, connection, consumer)).toThrow(
      expect.objectContaining({ code: 'misuse', message: expect.stringContaining(`got ${shown}.`) }),
    );
  });
});

describe('isPullable', () => {
  it.each<[string, unknown, boolean]>([
    ['an async generator', (async function* () {})(), true],
    ['a ReadableStream', new ReadableStream(), true],
    ['a Readable', Readable.from([]), true],
    ['an Observable', of(1), false],
    ['an array', [1], false],
    ['a text', 'text', false],
    ['null', null, false],
  ])('of %s', (_what, value, expected) => {
    expect(isPullable(value)).toBe(expected);
  });
});
