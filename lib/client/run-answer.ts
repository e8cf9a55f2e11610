import { askApp, onAbort } from './ask-app.js';
import { invalidOption, SseClientError } from './client.error.js';
import type { SseClientErrorCode, SseClientErrorDetails } from './client.error.js';
import type { Frame } from './frame.parser.js';
import { Readers } from './readers.js';
import { drop, mightMend, request, toClientError } from './request.js';
import type { StreamRequest } from './request.js';
import { runReader } from './run.formats.js';
import type { RunEnding, RunFormat, RunFrame } from './run.formats.js';
import { backoffMs, callApp, resolveUrl } from './settings.js';
import type { ClientSettings, HeadersSource } from './settings.js';
import { StreamLoop } from './stream-loop.js';
import type { StreamStatus } from './stream-loop.js';

/** A request of a run; what depends on its id is a function of it. */
export interface RunRequest {
  url: string | ((id: string) => string);
  /** @defaultValue `'POST'` for `start`, `'GET'` for `attach`, `'DELETE'` for `stop` */
  method?: string;
  /** Beside those of the client, which they overrule. A function is asked for them at each attempt. */
  headers?: HeadersSource;
  /** Sent as JSON if it is no text. */
  body?: unknown;
}

/** Where a run is started, attached to, and stopped. */
export interface RunTarget {
  /** The id of the run. Each `url` that is a function receives it. @defaultValue a random UUID */
  id?: string;
  /** Absent to attach to a run that was started before, as after a reload. */
  start?: RunRequest;
  /** The route of `runs.attach`. */
  attach: RunRequest | RunRequest['url'];
  /** The route of `runs.stop`. */
  stop?: RunRequest | RunRequest['url'];
}

/** Options of `client.run`. */
export interface RunOptions {
  /** The format that the server's run has. @defaultValue `'json'` */
  format?: RunFormat;
  onStatus?: (status: StreamStatus) => void;
  /** Something failed that is tried again. Return false to give up: the answer fails with that error. */
  onError?: (error: SseClientError) => unknown;
  /** Leaves the run, which goes on at the server. */
  signal?: AbortSignal;
  /**
   * After how many milliseconds in which the server answers with failures alone the answer fails. A network that is
   * away, and a proxy's 502 or 504, do not count: the client comes back for the rest.
   * @defaultValue 120_000
   */
  giveUpMs?: number;
}

/**
 * How an answer has ended.
 *
 * - `done`: it is complete.
 * - `stopped`: the run was stopped, here or elsewhere.
 * - `failed`: the run has failed, or its rest cannot be had: see `error`.
 * - `none`: there is no run to attach to.
 * - `left`: this client has left; the run goes on.
 */
export interface RunOutcome {
  readonly reason: 'done' | 'stopped' | 'failed' | 'none' | 'left';
  readonly error?: SseClientError;
}

const MAX_OWN_FAILURES = 3;
const GATEWAY_STATUSES = [502, 504];
// An attempt that takes longer than this was asleep, or had no network.
const PAUSE_MS = 60_000;

/**
 * The answer of a run: its items, in order and each once, over any number of connections, until its last frame. One
 * loop reads it; to leave that loop leaves the run, which goes on.
 */
export class RunAnswer<Item = unknown> implements AsyncIterable<Item> {
  /** Names the run. */
  readonly id: string;
  /** How it has ended. Never rejects. */
  readonly outcome: Promise<RunOutcome>;
  /** Resolves when the server is known to have the run, or the answer has ended. Never rejects. */
  readonly begun: Promise<void>;
  readonly #settings: ClientSettings;
  readonly #target: RunTarget;
  readonly #options: RunOptions;
  readonly #readers = new Readers<Item>();
  readonly #items = this.#readers.read();
  readonly #read: ReturnType<typeof runReader>;
  readonly #loop: StreamLoop;
  #status: StreamStatus = 'connecting';
  #next: 'start' | 'attach';
  #place: string | undefined;
  #outcome: RunOutcome | undefined;
  #isStopped = false;
  #begin!: () => void;
  #failingSince: number | undefined;
  #failedAt = 0;
  #ownFailures = 0;

  /** @internal */
  constructor(settings: ClientSettings, target: RunTarget, options: RunOptions) {
    this.#settings = settings;
    this.#target = target;
    this.#options = options;
    this.id = target.id ?? randomId();
    this.#read = runReader(options.format ?? 'json');
    this.#next = target.start ? 'start' : 'attach';
    // A mistake in a URL is thrown here, and not reported later.
    [target.start, target.attach, target.stop].forEach((each) => each && this.#requestOf(each, 'GET'));
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
    this.#loop = new StreamLoop(settings, {
      nextRequest: () => this.#nextRequest(),
      onStatus: (status) => this.#setStatus(status),
      onOpen: () => this.#begin(),
      onFrame: (frame) => this.#onFrame(frame),
      ready: () => this.#readers.ready(),
      onEmpty: () => this.#onEmpty(),
      onFailure: (error) => this.#onFailure(error),
    });
    const forgetSignal = onAbort(options.signal, () => this.leave());
    this.outcome = this.#loop.ended.then((error) => {
      forgetSignal();
      return this.#conclude(error);
    });
  }

  get status(): StreamStatus {
    return this.#status;
  }

  /**
   * Stops the run for all clients. What it has made so far stays, and the loop ends without an error.
   *
   * @returns whether the server had it
   * @throws SseClientError if the server refuses, or gives no answer in 8 tries
   */
  async stop(): Promise<boolean> {
    const { stop } = this.#target;
    if (!stop) {
      throw invalidOption('stop() needs the option `stop` of run().');
    }
    // From here on nothing is started again.
    this.#isStopped = true;
    // Overtaken by it, a start that is on its way would begin a run that nothing stops.
    await this.begun;
    for (let tries = 1; ; tries += 1) {
      try {
        drop(await askApp((signal) => request(this.#settings, this.#requestOf(stop, 'DELETE'), signal)));
        return true;
      } catch (thrown) {
        const error = toClientError(thrown);
        const { code, status, retryAfterMs = 0 } = error;
        // A 2xx of JSON is what such a route answers with.
        if (code === 'content-type' || status === 404 || status === 410) {
          return code === 'content-type';
        }
        if (!mightMend(error) || tries === MAX_STOP_TRIES) {
          throw error;
        }
        const delayMs = Math.max(retryAfterMs, backoffMs(this.#settings, tries));
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }

  /** Leaves the run, which goes on at the server: attach to it again with its {@link id}. */
  leave(): void {
    this.#loop.close();
    // Full, it would hold the stream up that is to end.
    this.#readers.end(undefined, true);
  }

  [Symbol.asyncIterator](): AsyncIterator<Item> {
    const items = this.#items;
    return {
      next: () => items.next(),
      return: () => {
        this.leave();
        return items.return();
      },
    };
  }

  #requestOf(given: RunRequest | RunRequest['url'], method: string): StreamRequest {
    const { url, ...rest } = typeof given === 'object' ? given : { url: given };
    const own = typeof url === 'function' ? url(this.id) : url;
    return { method, ...rest, url: resolveUrl(own, this.#settings) };
  }

  #nextRequest(): StreamRequest {
    return this.#next === 'start'
      ? this.#requestOf(this.#target.start!, 'POST')
      : { ...this.#requestOf(this.#target.attach, 'GET'), lastEventId: this.#place };
  }

  #onFrame(frame: Frame): void {
    this.#failingSince = undefined;
    this.#ownFailures = 0;
    this.#next = 'attach';
    if (frame.data === undefined) {
      this.#place = frame.id ?? this.#place;
      return;
    }
    let read: RunFrame;
    try {
      read = this.#read(frame as Frame & { data: string });
    } catch (cause) {
      const message = `A frame of run ${this.id} is not of the format ${this.#options.format ?? 'json'}.`;
      this.#end({ reason: 'failed', error: new SseClientError('data-invalid', message, { cause }) });
      return;
    }
    this.#place = frame.id ?? this.#place;
    if (read.item !== undefined) {
      this.#readers.push(read.item as Item);
    }
    if (read.end) {
      this.#end(this.#outcomeOf(read.end));
    }
  }

  #outcomeOf({ reason, message, details }: RunEnding): RunOutcome {
    return reason === 'failed' ? this.#failed('run-failed', message!, details) : { reason };
  }

  /** A failure; of a run that was stopped it is the end that was asked for. */
  #failed(code: SseClientErrorCode, message: string, details?: SseClientErrorDetails): RunOutcome {
    return this.#isStopped
      ? { reason: 'stopped' }
      : { reason: 'failed', error: new SseClientError(code, message, details) };
  }

  /** 204: the server has nothing of the run, or nothing more. */
  #onEmpty(): boolean {
    const wasHere = this.#place !== undefined;
    if (!wasHere && (this.#next === 'start' || !this.#target.start)) {
      this.#end({ reason: 'none' });
    } else if (wasHere || this.#isStopped || this.#isTooLong()) {
      this.#end(
        this.#failed('run-lost', `The server has no more of run ${this.id}: its answer is incomplete.`),
      );
    } else {
      // The start never came there. With the same id, and `ifEnded: 'keep'`, nothing is made twice.
      this.#next = 'start';
      return true;
    }
    return false;
  }

  #onFailure(error: SseClientError): boolean {
    // The same answer so often is the run's own failure, and no accident on the way.
    this.#ownFailures = error.status === 500 ? this.#ownFailures + 1 : 0;
    // Whether the start has come there is not known: to attach tells.
    this.#next = 'attach';
    // No network, or a proxy without a server, says nothing of the run: the tunnel may be long.
    const isAnswered = error.status !== undefined && !GATEWAY_STATUSES.includes(error.status);
    if (this.#ownFailures === MAX_OWN_FAILURES || (isAnswered && this.#isTooLong())) {
      return false;
    }
    let goesOn: unknown;
    callApp(() => (goesOn = this.#options.onError?.(error)));
    return goesOn !== false;
  }

  /** Whether nothing but failures has come for too long, sleep of the machine left out. */
  #isTooLong(): boolean {
    const now = Date.now();
    if (this.#failingSince === undefined || now - this.#failedAt > PAUSE_MS) {
      this.#failingSince = now;
    }
    this.#failedAt = now;
    return now - this.#failingSince > (this.#options.giveUpMs ?? GIVE_UP_MS);
  }

  #end(outcome: RunOutcome): void {
    this.#outcome ??= outcome;
    this.#loop.close();
  }

  #conclude(error: SseClientError | undefined): RunOutcome {
    const outcome: RunOutcome = this.#outcome ?? (error ? { reason: 'failed', error } : { reason: 'left' });
    this.#outcome = outcome;
    this.#begin();
    this.#readers.end(outcome.error);
    return outcome;
  }

  #setStatus(status: StreamStatus): void {
    this.#status = status;
    callApp(() => this.#options.onStatus?.(status));
  }
}

const GIVE_UP_MS = 120_000;
const MAX_STOP_TRIES = 8;

/** A UUID of version 4. `crypto.randomUUID` is there in secure contexts alone. */
function randomId(): string {
  // As in React Native. Another source of chance would make ids that strangers can guess.
  if (typeof crypto === 'undefined') {
    throw invalidOption('run() needs the option `id`: there is no `crypto` here.');
  }
  return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) => {
    const [byte] = crypto.getRandomValues(new Uint8Array(1)) as unknown as [number];
    // Of the variant's digit two bits are given.
    return (digit === '8' ? 8 + (byte % 4) : byte % 16).toString(16);
  });
}
