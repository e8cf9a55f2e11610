import type { IncomingHttpHeaders } from 'node:http';
import { performance } from 'node:perf_hooks';
import { abandonable, checkTimeout, rememberCaller, startDeadline } from './deadline.js';
import { EventStreamParser } from './event-stream.parser.js';
import { SseTestError } from './sse-test.error.js';
import type { TransportAnswer } from './transport.js';

/**
 * How a stream ended. `complete`: with the protocol's own end, as a finished answer does. `aborted`: cut before that,
 * such as chunks without the last one, a reset, a destroyed socket. `closed`: by this side.
 */
export type StreamEnding = 'complete' | 'aborted' | 'closed';

/** An event as an EventSource would have dispatched it. */
export class ReceivedEvent {
  constructor(
    /** `message` where the server named none. */
    readonly type: string,
    readonly data: string,
    /** The event's own `id` field, undefined where it had none. */
    readonly id: string | undefined,
    /** The id that the client holds after it: its own, or the one that it inherits. */
    readonly lastEventId: string,
    /** When its last byte was read: milliseconds since the epoch, with fractions, from a clock that never steps back. */
    readonly receivedAt: number,
  ) {}

  /** `data` as JSON. Throws a {@link SseTestError} of code `json-invalid` that shows the data. */
  json<T = unknown>(): T {
    try {
      return JSON.parse(this.data) as T;
    } catch (cause) {
      throw new SseTestError(
        'json-invalid',
        `The data of a "${this.type}" event is no JSON: ${excerpt(this.data)}`,
        {
          cause,
        },
      );
    }
  }
}

export interface WaitOptions {
  /** How long to wait at most, in milliseconds; else what `openSse()` was given. */
  timeoutMs?: number;
}

export interface UntilOptions extends WaitOptions {
  /** What is awaited, for the error; else the condition's own source. */
  describe?: string;
}

export interface CloseOptions {
  /**
   * Leave with a TCP reset, as a client does that crashed, where otherwise the connection is closed in order. Plain
   * HTTP/1.1 only.
   * @defaultValue false
   */
  reset?: boolean;
}

/** What a stream cannot know itself. */
export interface StreamOrigin<Reconnect> {
  /** `GET http://127.0.0.1:3000/sse`, for errors. */
  readonly request: string;
  readonly lastEventId: string;
  readonly timeoutMs: number;
  readonly reopen: (lastEventId: string, options: Reconnect | undefined) => Promise<SseTestStream<Reconnect>>;
}

interface Waiter {
  /** Looks again; settles the wait where it can. */
  check(): void;
}

const EXCERPT_LENGTH = 300;

/** An open answer in the hands of a test. Made by `openSse()`. */
export class SseTestStream<Reconnect = unknown> implements AsyncIterable<ReceivedEvent> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Resolves when nothing more can come; never rejects. */
  readonly ended: Promise<StreamEnding>;

  readonly #answer: TransportAnswer;
  readonly #origin: StreamOrigin<Reconnect>;
  readonly #events: ReceivedEvent[] = [];
  readonly #comments: string[] = [];
  readonly #retries: number[] = [];
  readonly #chunks: Buffer[] = [];
  readonly #parser: EventStreamParser;
  readonly #waiters = new Set<Waiter>();
  /** Those of `#waiters` that take events away, in the order in which they asked. */
  readonly #takers = new Set<Waiter>();
  #taken = 0;
  #paused = false;
  #ending: StreamEnding | undefined;
  #error: Error | undefined;
  #settleEnded!: (ending: StreamEnding) => void;

  /** @internal */
  constructor(answer: TransportAnswer, origin: StreamOrigin<Reconnect>) {
    this.#answer = answer;
    this.#origin = origin;
    this.status = answer.status;
    this.headers = answer.headers;
    this.ended = new Promise((resolve) => (this.#settleEnded = resolve));
    this.#parser = new EventStreamParser(
      {
        event: ({ type, data, id, lastEventId }) => {
          const receivedAt = performance.timeOrigin + performance.now();
          this.#events.push(new ReceivedEvent(type, data, id, lastEventId, receivedAt));
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
      origin.lastEventId,
    );
    const { body } = answer;
    // As in a browser, what is no event stream has no events, however much it looks like one.
    const isEventStream = /^text\/event-stream\s*(;|$)/i.test(answer.headers['content-type'] ?? '');
    body.on('data', (chunk: Buffer) => {
      if (this.#ending !== undefined) return;
      this.#chunks.push(chunk);
      if (isEventStream) this.#parser.push(chunk);
      this.#checkWaiters();
    });
    body.on('error', (error) => (this.#error = error));
    body.on('close', () => this.#end(answer.isComplete() ? 'complete' : 'aborted'));
  }

  /** All events so far, also those that `next()` and `take()` gave out. */
  get events(): readonly ReceivedEvent[] {
    return this.#events;
  }

  /** All comments so far; a heartbeat, a bare colon, is `''`. */
  get comments(): readonly string[] {
    return this.#comments;
  }

  /** All valid `retry` fields so far, in milliseconds. */
  get retries(): readonly number[] {
    return this.#retries;
  }

  /** The last of `retries`: how long an EventSource would wait before it reconnects. */
  get retry(): number | undefined {
    return this.#retries.at(-1);
  }

  /** What an EventSource would send as `Last-Event-ID` now; `''` where it would send none. */
  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** Everything received so far, as text, chunk framing removed. */
  get raw(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }

  /** How the stream ended; undefined while it is open. */
  get ending(): StreamEnding | undefined {
    return this.#ending;
  }

  /** Why it was cut, where Node told; undefined otherwise. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** The next event that no `next()`, `take()` or iteration has given out yet. */
  next(options: WaitOptions = {}): Promise<ReceivedEvent> {
    return abandonable(this.#take(1, 'the next event', options, this.next).then(([event]) => event!));
  }

  /** The next `count` events. Gives them out together or not at all: where the wait fails, they stay for the next call. */
  take(count: number, options: WaitOptions = {}): Promise<ReceivedEvent[]> {
    return this.#take(count, `the next ${count} events`, options, this.take);
  }

  /**
   * Waits until `condition` is true: looked at now, after each event, comment, retry field and chunk, and at the end.
   * What it throws rejects the wait. Gives no event out.
   */
  until(condition: (stream: this) => boolean, options: UntilOptions = {}): Promise<this> {
    const what = options.describe ?? excerpt(condition.toString());
    return this.#wait(what, () => (condition(this) ? this : undefined), options, this.until);
  }

  /** The whole body, once it has ended in order: for errors, JSON and streams that finish. Rejects where it was cut. */
  body(options: WaitOptions = {}): Promise<string> {
    return this.#wait(
      'the end of the body',
      () => (this.#ending === 'complete' ? { raw: this.raw } : undefined),
      options,
      this.body,
    ).then(({ raw }) => raw);
  }

  /** Stops reading from the connection, as a slow client does: what the kernels' buffers cannot hold waits in the server. */
  pause(): void {
    this.#paused = true;
    this.#answer.body.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#answer.body.resume();
  }

  /** Closes this stream where it is open, and sends its request again with `Last-Event-ID`, to the same address. */
  reconnect(options?: Reconnect): Promise<SseTestStream<Reconnect>> {
    return abandonable(this.close().then(() => this.#origin.reopen(this.lastEventId, options)));
  }

  /**
   * Leaves, and resolves when the connection is gone on this side; the server learns of it in its own time. May be
   * called again, and after the end, where it lets go of the idle connection.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#end('closed');
    return abandonable(this.#answer.leave(options.reset ?? false));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * The events not yet given out, then those that come, each within the stream's deadline. Ends with the stream; throws
   * where it was cut. Leaving the loop leaves the stream open.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReceivedEvent, void, undefined> {
    for (;;) {
      if (this.#taken === this.#events.length) {
        if (this.#ending === undefined)
          await this.until(() => this.#hasEventOrEnded(), { describe: 'the next event' });
        if (this.#taken === this.#events.length && (this.#ending === 'complete' || this.#ending === 'closed'))
          return;
      }
      yield await this.next();
    }
  }

  #hasEventOrEnded(): boolean {
    return this.#taken < this.#events.length || this.#ending !== undefined;
  }

  #take(
    count: number,
    what: string,
    options: WaitOptions,
    calledFunction: (...args: never[]) => unknown,
  ): Promise<ReceivedEvent[]> {
    const attempt = (waiter: Waiter): ReceivedEvent[] | undefined => {
      this.#takers.add(waiter);
      const [first] = this.#takers;
      if (first !== waiter || this.#events.length - this.#taken < count) return undefined;
      const events = this.#events.slice(this.#taken, this.#taken + count);
      this.#taken += count;
      return events;
    };
    return this.#wait(what, attempt, options, calledFunction);
  }

  #wait<T extends object>(
    what: string,
    attempt: (waiter: Waiter) => T | undefined,
    options: WaitOptions,
    calledFunction: (...args: never[]) => unknown,
  ): Promise<T> {
    const atCaller = rememberCaller(calledFunction);
    return abandonable(
      new Promise((resolve, reject) => {
        const timeoutMs = checkTimeout(options.timeoutMs ?? this.#origin.timeoutMs);
        const fail = (code: 'timeout' | 'ended', waited: string) =>
          reject(
            atCaller(
              new SseTestError(code, `${waited} ${what}, in vain. ${this.#describe()}`, {
                cause: this.#error,
              }),
            ),
          );
        const leave = () => {
          cancelDeadline();
          this.#waiters.delete(waiter);
          this.#takers.delete(waiter);
        };
        const waiter: Waiter = {
          check: () => {
            try {
              const value = attempt(waiter);
              if (value !== undefined) {
                leave();
                resolve(value);
              } else if (this.#ending !== undefined) {
                leave();
                fail('ended', 'Waited for');
              }
            } catch (error) {
              leave();
              reject(error);
            }
          },
        };
        const cancelDeadline = startDeadline(timeoutMs, () => {
          leave();
          fail('timeout', `Waited ${timeoutMs} ms for`);
          this.#checkWaiters();
        });
        this.#waiters.add(waiter);
        waiter.check();
      }),
    );
  }

  #checkWaiters(): void {
    for (const waiter of [...this.#waiters]) waiter.check();
  }

  #end(ending: StreamEnding): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#settleEnded(ending);
    this.#checkWaiters();
  }

  #describe(): string {
    const { raw } = this;
    const events = this.#events
      .slice(-3)
      .map(({ type, data }) => `${type} ${excerpt(data, 100)}`)
      .join(', ');
    return [
      `${this.#origin.request} answered ${this.status} ${this.headers['content-type'] ?? 'without a content type'};`,
      `received ${this.#events.length} events (${this.#taken} given out)${events && `, the last ${events}`};`,
      `${this.#comments.length} comments; ${raw.length} characters, the last ${excerpt(raw.slice(-EXCERPT_LENGTH))};`,
      this.#ending === undefined
        ? `the stream is open${this.#paused ? ' and paused' : ''}.`
        : `the stream has ended: ${this.#ending}${this.#error ? ` (${this.#error.message})` : ''}.`,
    ].join(' ');
  }
}

function excerpt(text: string, length = EXCERPT_LENGTH): string {
  return JSON.stringify(text.length > length ? `${text.slice(0, length)}…` : text);
}
