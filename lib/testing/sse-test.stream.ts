import type { IncomingHttpHeaders } from 'node:http';
import { abandonable, checkTimeout, now, rememberCaller, startDeadline } from './deadline.js';
import { EventStreamParser } from './event-stream.parser.js';
import type { OpenSseOptions } from './open-sse.options.js';
import { excerpt, excerptOfEnd, ReceivedEvent } from './received-event.js';
import { SseTestError } from './sse-test.error.js';
import type { TransportAnswer } from './transport.js';

/**
 * How a stream ended. `complete`: with the protocol's own end, as a finished answer does. `aborted`: cut before that, as
 * by a missing last chunk, a reset, a destroyed socket. `closed`: by this side.
 */
export type StreamEnding = 'complete' | 'aborted' | 'closed';

export interface WaitOptions {
  /** How long to wait at most, in milliseconds; without it, what `openSse()` was given. */
  timeoutMs?: number;
}

export interface UntilOptions extends WaitOptions {
  /** What is awaited, for the error; without it, the condition's source. */
  describe?: string;
}

export interface CloseOptions {
  /**
   * Leave by a TCP reset, as a client that crashes, instead of closing the connection in order. Not on TLS, and not on
   * an `http2Session` of yours.
   * @defaultValue false
   */
  reset?: boolean;
}

/**
 * What a stream is told about its own beginning.
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
  /** Looks again, and settles the wait where it can: then it returns true. */
  check(): boolean;
}

/**
 * An answer in the hands of a test, open or ended. {@link openSse} makes it.
 *
 * Waits reject with an {@link SseTestError} that says what was awaited, what has come and how the stream stands: of code
 * `timeout` when their deadline passes, of code `ended` as soon as the stream has ended without it.
 */
export class SseTestStream implements AsyncIterable<ReceivedEvent> {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders;
  /**
   * A promise, and so never undefined: it resolves with how the stream has ended, without a deadline.
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
  /** Waits for events to be given out, one after the other: the first in line gets them first. */
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
    // As in a browser: what is called something else has no events, however much it looks like some.
    this.#isEventStream = /^\s*text\/event-stream\s*(;|$)/i.test(answer.headers['content-type'] ?? '');
    this.#parser = this.#createParser(origin.lastEventId);
    this.#read();
  }

  /** Every event so far, those that {@link next} and {@link take} gave out included. */
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

  /** The last of {@link retries}: how long an EventSource would wait before it comes back. */
  get retry(): number | undefined {
    return this.#retries.at(-1);
  }

  /** What an EventSource would send as `Last-Event-ID` when it comes back; `''` where it would send none. */
  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** The body so far, as text; what is no UTF-8 is replaced. */
  get raw(): string {
    return this.#raw;
  }

  /** How the stream has ended, by now: `undefined` while it is open. {@link untilEnd} waits. */
  get ending(): StreamEnding | undefined {
    return this.#ending;
  }

  /** What Node said when the stream was cut, if anything. */
  get error(): Error | undefined {
    return this.#ending === 'aborted' ? this.#answer.failure() : undefined;
  }

  /** The first event that was not given out yet, as soon as there is one. */
  next(options: WaitOptions = {}): Promise<ReceivedEvent> {
    return this.#wait('the next event', () => this.#give(1)?.[0], options, this.#takers);
  }

  /** The next `count` events, all or none: where the wait fails, those that came are left for the next call. */
  take(count: number, options: WaitOptions = {}): Promise<ReceivedEvent[]> {
    const attempt = () => this.#give(checkCount(count));
    return this.#wait(`the next ${count} events`, attempt, options, this.#takers);
  }

  /**
   * Waits until `condition` is true, without giving events out. It is asked at once, then after each event, comment,
   * retry field and chunk, and at the end. What it throws rejects the wait.
   */
  until(condition: (stream: this) => boolean, options: UntilOptions = {}): Promise<this> {
    const what = options.describe ?? `the condition ${excerpt(condition.toString().replace(/\s+/g, ' '))}`;
    return this.#wait(what, () => (condition(this) ? this : undefined), options);
  }

  /** Waits for the end of the stream, and resolves with how it has ended. Rejects at its deadline alone. */
  untilEnd(options: WaitOptions = {}): Promise<StreamEnding> {
    const ended = this.#wait(
      'the end of the stream',
      () => (this.#ending === undefined ? undefined : this),
      options,
    );
    return abandonable(ended.then(() => this.#ending!));
  }

  /** The whole body, once it has ended in order: for errors, and for streams that end. Rejects where it was cut. */
  body(options: WaitOptions = {}): Promise<string> {
    const whole = this.#wait(
      'the end of the body',
      () => (this.#ending === 'complete' ? this : undefined),
      options,
    );
    return abandonable(whole.then(() => this.#raw));
  }

  /**
   * Stops reading from the connection, as a slow client does: what the buffers on the way do not hold stays in the
   * server. That the server leaves may go unnoticed meanwhile.
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
   * given replaces the one from before; `lastEventId: ''` comes back as a new client.
   */
  reconnect(options: OpenSseOptions = {}): Promise<SseTestStream> {
    const atCaller = rememberCaller();
    return abandonable(this.close().then(() => this.#origin.reopen(this.lastEventId, options, atCaller)));
  }

  /**
   * Leaves, and resolves when the connection is gone on this side; the server learns of it in its own time (see
   * {@link waitFor}). Also after the end, where it lets go of the idle connection, and more than once.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return abandonable(this.#close(options.reset ?? false));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * The events that were not given out yet, then each as it comes, within the stream's deadline. The loop ends with the
   * stream, and throws where that was cut; to break out of it leaves the stream open.
   */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedEvent, void, undefined> {
    const attempt = (): IteratorResult<ReceivedEvent, void> | undefined => {
      const given = this.#give(1);
      if (given !== undefined) return { done: false, value: given[0]! };
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
    const { body } = this.#answer;
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    body.on('data', (chunk: Uint8Array) => {
      if (this.#ending !== undefined) return;
      this.#raw += decoder.decode(chunk, { stream: true });
      if (this.#isEventStream) this.#parser.push(chunk);
      this.#checkWaiters();
    });
    body.on('close', () => {
      this.#raw += decoder.decode();
      this.#end(this.#answer.isComplete() ? 'complete' : 'aborted');
    });
  }

  #give(count: number): ReceivedEvent[] | undefined {
    if (this.#events.length - this.#given < count) return undefined;
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
              if (value !== undefined) resolve(value);
              else if (this.#ending !== undefined)
                reject(atCaller(this.#waitError('ended', `Waited for ${what}`)));
              else return false;
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
          // Another one may have been waiting behind it, for fewer events.
          this.#checkWaiters();
        });
        queue.add(waiter);
        this.#checkWaiters();
      }),
    );
  }

  #checkWaiters(): void {
    for (const watcher of this.#watchers) watcher.check();
    for (const taker of this.#takers) {
      if (!taker.check()) break;
    }
  }

  #end(ending: StreamEnding): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#settleEnded(ending);
    this.#checkWaiters();
  }

  async #close(reset: boolean): Promise<void> {
    if (reset) this.#answer.checkReset();
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
    if (this.#ending === undefined) return `The stream is open${this.#paused ? ' and paused' : ''}.`;
    const reason = this.error === undefined ? '' : ` (${this.error.message})`;
    return `The stream has ended: ${this.#ending}${reason}.`;
  }
}

function checkCount(count: number): number {
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new SseTestError('argument-invalid', `take() needs a whole number above 0, got ${String(count)}.`);
}
