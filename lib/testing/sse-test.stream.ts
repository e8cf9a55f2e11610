import type { IncomingHttpHeaders } from 'node:http';
import { abandonable, checkTimeout, now, rememberCaller, startDeadline } from './deadline.js';
import { decodedBody } from './decoded-body.js';
import { EventStreamParser } from './event-stream.parser.js';
import type { OpenSseOptions } from './open-sse.options.js';
import { excerpt, excerptOfEnd, ReceivedEvent } from './received-event.js';
import { SseTestError } from './sse-test.error.js';
import type { TransportAnswer } from './transport.js';

/**
 * A response in the hands of a test, open or ended. Made by `openSse()`.
 *
 * A wait rejects with an {@link SseTestError}, which says what was awaited, what has arrived, and whether the stream is
 * open. Its code is `timeout` when the deadline has passed, and `ended` as soon as the stream has ended without what
 * was awaited.
 */
export class SseTestStream implements AsyncIterable<ReceivedEvent> {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders;
  /**
   * Resolves with how the stream has ended, without a deadline. Being a promise, it is never undefined.
   * @deprecated Use {@link untilEnd} to wait for the end, and {@link ending} to ask whether it has come.
   */
  readonly ended: Promise<StreamEnding>;

  readonly #answer: TransportAnswer;
  readonly #origin: SseTestStreamOrigin;
  readonly #parser: EventStreamParser;
  readonly #isEventStream: boolean;
  readonly #events: ReceivedEvent[] = [];
  readonly #comments: string[] = [];
  readonly #retries: number[] = [];
  #raw = '';
  /** How many of `#events` were given out. */
  #given = 0;
  /** Waits for events to be given out. The first in line gets events first. */
  readonly #takers = new Set<Waiter>();
  readonly #watchers = new Set<Waiter>();
  #paused = false;
  #ending: StreamEnding | undefined;
  #settleEnded!: (ending: StreamEnding) => void;

  /** @internal */
  constructor(answer: TransportAnswer, origin: SseTestStreamOrigin) {
    this.#answer = answer;
    this.#origin = origin;
    this.status = answer.status;
    this.headers = answer.headers;
    this.ended = new Promise((resolve) => (this.#settleEnded = resolve));
    // As in a browser, a response with another content type has no events, whatever its body looks like.
    this.#isEventStream = /^\s*text\/event-stream\s*(;|$)/i.test(answer.headers['content-type'] ?? '');
    this.#parser = this.#createParser(origin.lastEventId);
    this.#read();
  }

  /** Every event so far, including those that {@link next} and {@link take} have given out. */
  get events(): readonly ReceivedEvent[] {
    return this.#events;
  }

  /** Every comment so far. A heartbeat, which is a bare colon, is `''`. */
  get comments(): readonly string[] {
    return this.#comments;
  }

  /** Every valid `retry` field so far, in milliseconds. */
  get retries(): readonly number[] {
    return this.#retries;
  }

  /** The last of {@link retries}: milliseconds that an EventSource would wait before it reconnects. */
  get retry(): number | undefined {
    return this.#retries.at(-1);
  }

  /** The `Last-Event-ID` that an EventSource would send when it reconnects; `''` if it would send none. */
  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** The body so far, as text. Invalid UTF-8 is replaced. */
  get raw(): string {
    return this.#raw;
  }

  /** How the stream has ended; `undefined` while it is open. {@link untilEnd} waits. */
  get ending(): StreamEnding | undefined {
    return this.#ending;
  }

  /** The error of Node when the stream was cut, if there was one. */
  get error(): Error | undefined {
    return this.#ending === 'aborted' ? this.#answer.failure() : undefined;
  }

  /** Resolves with the first event that was not given out yet, as soon as there is one. */
  next(options: WaitOptions = {}): Promise<ReceivedEvent> {
    return this.#wait('the next event', () => this.#give(1)?.[0], options, this.#takers);
  }

  /**
   * Resolves with the next `count` events. If the wait fails, the events that have arrived are left for the next call.
   */
  take(count: number, options: WaitOptions = {}): Promise<ReceivedEvent[]> {
    const attempt = () => this.#give(checkCount(count));
    return this.#wait(`the next ${count} events`, attempt, options, this.#takers);
  }

  /**
   * Waits until `condition` is true. Events stay for `next()` and `take()`. The condition is checked at once, after
   * each event, comment, `retry` field and chunk, and at the end of the stream. What it throws rejects the wait.
   */
  until(condition: (stream: this) => boolean, options: UntilOptions = {}): Promise<this> {
    const what = options.describe ?? `the condition ${excerpt(condition.toString().replace(/\s+/g, ' '))}`;
    return this.#wait(what, () => (condition(this) ? this : undefined), options);
  }

  /** Waits for the end of the stream, and resolves with how it has ended. Rejects only when its deadline passes. */
  untilEnd(options: WaitOptions = {}): Promise<StreamEnding> {
    const ended = this.#wait(
      'the end of the stream',
      () => (this.#ending === undefined ? undefined : this),
      options,
    );
    return abandonable(ended.then(() => this.#ending!));
  }

  /** Resolves with the whole body, once it is complete: for errors, and for streams that end. Rejects if it was cut. */
  body(options: WaitOptions = {}): Promise<string> {
    const whole = this.#wait(
      'the end of the body',
      () => (this.#ending === 'complete' ? this : undefined),
      options,
    );
    return abandonable(whole.then(() => this.#raw));
  }

  /**
   * Stops reading from the connection, as a slow client does: what buffers on the way do not hold stays in the server.
   * Meanwhile the test may not notice that the server has ended the stream.
   */
  pause(): void {
    this.#paused = true;
    this.#answer.body.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#answer.body.resume();
  }

  /**
   * Closes this stream, and sends its request again to the same address, with {@link lastEventId}. Each option that is
   * given replaces the earlier one. With `lastEventId: ''` it comes back as a new client.
   */
  reconnect(options: OpenSseOptions = {}): Promise<SseTestStream> {
    const atCaller = rememberCaller();
    return abandonable(this.close().then(() => this.#origin.reopen(this.lastEventId, options, atCaller)));
  }

  /**
   * Leaves the stream, and resolves when the connection is gone on this side. The server learns of it later: see
   * `waitFor()`. It can be called more than once, and after the end: it closes the idle connection then.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return abandonable(this.#close(options.reset ?? false));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Iterates over the events that were not given out yet, then over each as it arrives, each within the deadline of the
   * stream. The loop ends with the stream, and throws if that was cut. Breaking out of the loop leaves the stream open.
   */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedEvent, void, undefined> {
    const attempt = (): IteratorResult<ReceivedEvent, void> | undefined => {
      const given = this.#give(1);
      if (given !== undefined) {
        return { done: false, value: given[0]! };
      }
      const isOver = this.#ending === 'complete' || this.#ending === 'closed';
      return isOver ? { done: true, value: undefined } : undefined;
    };
    const next = () => this.#wait('the next event', attempt, {}, this.#takers);
    return { next };
  }

  #createParser(lastEventId: string): EventStreamParser {
    return new EventStreamParser(
      {
        event: (event) => {
          this.#events.push(new ReceivedEvent(event, now()));
          this.#checkWaiters();
        },
        comment: (text) => {
          this.#comments.push(text);
          this.#checkWaiters();
        },
        retry: (ms) => {
          this.#retries.push(ms);
          this.#checkWaiters();
        },
      },
      lastEventId,
    );
  }

  #read(): void {
    const body = decodedBody(this.#answer);
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    body.on('data', (chunk: Uint8Array) => {
      if (this.#ending !== undefined) {
        return;
      }
      this.#raw += decoder.decode(chunk, { stream: true });
      if (this.#isEventStream) {
        this.#parser.push(chunk);
      }
      this.#checkWaiters();
    });
    body.on('close', () => {
      this.#raw += decoder.decode();
      this.#end(this.#answer.isComplete() ? 'complete' : 'aborted');
    });
  }

  #give(count: number): ReceivedEvent[] | undefined {
    if (this.#events.length - this.#given < count) {
      return undefined;
    }
    const events = this.#events.slice(this.#given, this.#given + count);
    this.#given += count;
    return events;
  }

  #wait<T extends object>(
    what: string,
    attempt: () => T | undefined,
    options: WaitOptions,
    queue: Set<Waiter> = this.#watchers,
  ): Promise<T> {
    const atCaller = rememberCaller(2);
    return abandonable(
      new Promise((resolve, reject) => {
        const timeoutMs = checkTimeout(options.timeoutMs ?? this.#origin.timeoutMs);
        const leave = () => {
          cancelDeadline();
          queue.delete(waiter);
        };
        const waiter: Waiter = {
          check: () => {
            try {
              const value = attempt();
              if (value !== undefined) {
                resolve(value);
              } else if (this.#ending !== undefined) {
                reject(atCaller(this.#waitError('ended', `Waited for ${what}`)));
              } else {
                return false;
              }
            } catch (error) {
              reject(error);
            }
            leave();
            return true;
          },
        };
        const cancelDeadline = startDeadline(timeoutMs, () => {
          leave();
          reject(atCaller(this.#waitError('timeout', `Waited ${timeoutMs} ms for ${what}`)));
          // Another wait may be in line behind this one, for fewer events.
          this.#checkWaiters();
        });
        queue.add(waiter);
        this.#checkWaiters();
      }),
    );
  }

  #checkWaiters(): void {
    for (const watcher of this.#watchers) {
      watcher.check();
    }
    for (const taker of this.#takers) {
      if (!taker.check()) {
        break;
      }
    }
  }

  #end(ending: StreamEnding): void {
    if (this.#ending !== undefined) {
      return;
    }
    this.#ending = ending;
    this.#settleEnded(ending);
    this.#checkWaiters();
  }

  async #close(reset: boolean): Promise<void> {
    if (reset) {
      this.#answer.checkReset();
    }
    this.#end('closed');
    await this.#answer.leave(reset);
  }

  #waitError(code: 'timeout' | 'ended', waited: string): SseTestError {
    return new SseTestError(code, `${waited}. ${this.#describe()}`, { cause: this.error });
  }

  #describe(): string {
    const type = this.headers['content-type'] ?? 'no content type';
    const last = this.#events.slice(-3).map((event) => `${event.type} ${excerpt(event.data)}`);
    return [
      `${this.#origin.request} answered ${this.status}, ${type}${this.#isEventStream ? '' : ', which has no events'}.`,
      `Characters: ${this.#raw.length}${this.#raw && `, the last ${excerptOfEnd(this.#raw)}`}.`,
      `Events: ${this.#events.length}, given out: ${this.#given}${last.length > 0 ? `, the last: ${last.join(', ')}` : ''}.`,
      `Comments: ${this.#comments.length}.`,
      this.#describeState(),
    ].join(' ');
  }

  #describeState(): string {
    if (this.#ending === undefined) {
      return `The stream is open${this.#paused ? ' and paused' : ''}.`;
    }
    const reason = this.error === undefined ? '' : ` (${this.error.message})`;
    return `The stream has ended: ${this.#ending}${reason}.`;
  }
}

export interface WaitOptions {
  /**
   * How long to wait at most, in milliseconds.
   * @defaultValue the `timeoutMs` of `openSse()`
   */
  timeoutMs?: number;
}

export interface UntilOptions extends WaitOptions {
  /**
   * Description of what is awaited, for the error.
   * @defaultValue the source text of the condition
   */
  describe?: string;
}

export interface CloseOptions {
  /**
   * Whether to leave by a TCP reset, as a client that crashes, instead of closing the connection in order. Not possible
   * on TLS, and on an `http2Session` of yours.
   * @defaultValue false
   */
  reset?: boolean;
}

/**
 * How a stream ended.
 *
 * - `complete`: with the end of the protocol, as a finished response does.
 * - `aborted`: cut before that, as by a missing last chunk, a reset or a destroyed socket.
 * - `closed`: by the test itself.
 */
export type StreamEnding = 'complete' | 'aborted' | 'closed';

/**
 * What a stream knows of its own request.
 * @internal
 */
export interface SseTestStreamOrigin {
  /** Method and URL, for errors. */
  readonly request: string;
  readonly lastEventId: string;
  readonly timeoutMs: number;
  reopen(
    lastEventId: string,
    changes: OpenSseOptions,
    atCaller: (error: Error) => Error,
  ): Promise<SseTestStream>;
}

interface Waiter {
  /** Checks the condition again. Returns true if it has settled the wait. */
  check(): boolean;
}

function checkCount(count: number): number {
  if (Number.isSafeInteger(count) && count > 0) {
    return count;
  }
  throw new SseTestError('argument-invalid', `take() needs a whole number above 0, got ${String(count)}.`);
}
