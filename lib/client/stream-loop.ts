import { readHeartbeatComment } from '../wire/announcements.js';
import { onAbort, unlessAborted } from './ask-app.js';
import { SseClientError } from './client.error.js';
import { FrameParser } from './frame.parser.js';
import type { Frame } from './frame.parser.js';
import { watchPage } from './page.js';
import { drop, mightMend, request, toClientError } from './request.js';
import type { StreamRequest } from './request.js';
import { backoffMs, MAX_TIMER_MS } from './settings.js';
import type { ClientSettings } from './settings.js';
import { ChunkDecoder } from './text.decoder.js';

/** How a stream stands: `waiting` is between two attempts, or while the page is frozen. */
export type StreamStatus = 'connecting' | 'open' | 'waiting' | 'closed';

/** What a loop serves. */
export interface StreamHost {
  /** The request of the next attempt. */
  nextRequest(): StreamRequest;
  onStatus(status: StreamStatus): void;
  /** The answer is a stream, of which nothing has been read. */
  onOpen?(): void;
  onFrame(frame: Frame): void;
  /** Resolves when more may be taken, and is asked again then; undefined if it can. */
  ready?(): Promise<void> | undefined;
  /** An answer of 204. @returns whether to try again */
  onEmpty?(): boolean;
  /** Something failed that is tried again. @returns false if it is not worth that */
  onFailure(error: SseClientError): boolean | void;
  /** The page is about to be frozen, or gone. */
  onLeave?(): void;
  onComeBack?(): void;
}

const MAX_EVENT_CHARACTERS = 16 * 1_048_576;
const HEARTBEATS_MISSED = 3;
// After a stall of the page the timer may fire before the bytes that wait are handed over.
const STALL_GRACE_MS = 1_000;
const LEAST_CONNECT_MS = 15_000;
// A connection that has lasted so long was no failure.
const STEADY_MS = 5_000;
const MAX_WRONG_TYPES = 3;

/**
 * Keeps a stream of events open: asks, reads, and comes back when the connection is lost, until the server ends it for
 * good, or {@link close}.
 */
export class StreamLoop {
  readonly #settings: ClientSettings;
  readonly #host: StreamHost;
  #isClosed = false;
  #attempt: AbortController | undefined;
  /** Why the attempt was aborted, if the connection is taken for dead. */
  #silence: SseClientError | undefined;
  #wake: (() => void) | undefined;
  #isAway = false;
  #failures = 0;
  #wrongTypes = 0;
  #wasUnauthorized = false;
  #retryMs = 0;
  #heartbeatMs: number | undefined;
  #isRestarting = false;
  /** No answer has come to the request. */
  #isConnecting = false;
  /** Resolves when the loop has ended, with the reason if it is an error. Never rejects. */
  readonly ended: Promise<SseClientError | undefined>;

  constructor(settings: ClientSettings, host: StreamHost) {
    this.#settings = settings;
    this.#host = host;
    const forgetPage = watchPage({
      wake: (reason) => this.#onWake(reason),
      leave: () => this.#leave(),
      comeBack: () => this.#comeBack(),
    });
    // A turn later, so that its maker can listen before anything comes.
    this.ended = Promise.resolve()
      .then(() => this.#run())
      .catch(toClientError)
      .finally(() => {
        this.close();
        forgetPage();
      });
  }

  /** Ends at once: the request is aborted, and every wait. */
  close(): void {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#attempt?.abort();
      this.#wake?.();
      this.#host.onStatus('closed');
    }
  }

  /** Asks again at once, with what {@link StreamHost.nextRequest} gives by then. */
  restart(): void {
    this.#isRestarting = true;
    this.#attempt?.abort();
    this.#wake?.();
  }

  async #run(): Promise<undefined> {
    while (!this.#isClosed) {
      this.#isRestarting = false;
      this.#silence = undefined;
      const attempt = (this.#attempt = new AbortController());
      let delayMs: number | undefined;
      try {
        delayMs = await this.#try(attempt.signal);
      } catch (error) {
        delayMs = this.#afterFailure(error, attempt.signal);
      } finally {
        attempt.abort();
      }
      if (delayMs === undefined) {
        return;
      }
      await this.#wait(delayMs);
    }
  }

  /**
   * One request, and all of its answer.
   *
   * @returns when to try again; undefined if that is not wanted
   */
  async #try(signal: AbortSignal): Promise<number | undefined> {
    this.#host.onStatus('connecting');
    this.#isConnecting = true;
    const connectTimer = this.#limitConnect();
    let body: Awaited<ReturnType<typeof request>>;
    try {
      body = await request(this.#settings, this.#host.nextRequest(), signal);
    } finally {
      clearTimeout(connectTimer);
      this.#isConnecting = false;
    }
    if (!body) {
      return this.#host.onEmpty?.() ? this.#nextDelay() : undefined;
    }
    this.#wasUnauthorized = false;
    this.#wrongTypes = 0;
    const openedAt = Date.now();
    await this.#read(body, signal);
    if (Date.now() - openedAt >= STEADY_MS) {
      this.#failures = 0;
    }
    return this.#nextDelay();
  }

  /**
   * @returns when to try again; undefined if that is not wanted
   * @throws SseClientError that ends the loop
   */
  #afterFailure(thrown: unknown, { aborted }: AbortSignal): number | undefined {
    if (this.#isClosed) {
      return undefined;
    }
    if (aborted && !this.#silence) {
      return this.#isRestarting ? 0 : this.#nextDelay();
    }
    const error = this.#silence ?? toClientError(thrown);
    const isUnauthorized = error.status === 401;
    this.#wrongTypes = error.code === 'content-type' ? this.#wrongTypes + 1 : 0;
    const isFinal =
      !mightMend(error) || (isUnauthorized && this.#wasUnauthorized) || this.#wrongTypes === MAX_WRONG_TYPES;
    this.#wasUnauthorized = isUnauthorized;
    if (isFinal || this.#host.onFailure(error) === false) {
      throw error;
    }
    // The token may have been too old: another one is asked for.
    return isUnauthorized ? 0 : Math.max(this.#nextDelay(), error.retryAfterMs ?? 0);
  }

  /** Full jitter beyond the server's own time, so that clients which were cut together do not come back together. */
  #nextDelay(): number {
    this.#failures += 1;
    return this.#retryMs + backoffMs(this.#settings, this.#failures - 1);
  }

  async #wait(delayMs: number): Promise<void> {
    if (this.#isClosed || (delayMs === 0 && !this.#isAway)) {
      return;
    }
    this.#host.onStatus('waiting');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#isAway || resolve(), Math.min(delayMs, MAX_TIMER_MS));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #onWake(reason: 'online' | 'visible'): void {
    if (this.#isAway) {
      return;
    }
    if (this.#wake) {
      this.#wake();
    } else if (reason === 'online' && this.#isConnecting) {
      // It was sent while the network was away.
      this.restart();
    }
  }

  #leave(): void {
    if (!this.#isAway && !this.#isClosed) {
      this.#isAway = true;
      this.#host.onLeave?.();
      this.#attempt?.abort();
    }
  }

  #comeBack(): void {
    if (this.#isAway) {
      this.#isAway = false;
      // The wait may be yet to begin.
      this.#isRestarting = true;
      this.#host.onComeBack?.();
      this.#wake?.();
    }
  }

  #limitConnect(): ReturnType<typeof setTimeout> | undefined {
    const silenceMs = this.#silenceMs;
    return silenceMs === undefined
      ? undefined
      : setTimeout(() => this.#takeForDead(silenceMs), Math.max(silenceMs, LEAST_CONNECT_MS));
  }

  #takeForDead(silenceMs: number): void {
    const message = `Nothing came for ${silenceMs} ms: the connection is dead.`;
    this.#silence ??= new SseClientError('silent', message);
    this.#attempt!.abort();
  }

  get #silenceMs(): number | undefined {
    const { silenceMs } = this.#settings;
    const told = this.#heartbeatMs && this.#heartbeatMs * HEARTBEATS_MISSED;
    return silenceMs === false ? undefined : (silenceMs ?? (told && Math.min(told, MAX_TIMER_MS)));
  }

  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    this.#heartbeatMs = undefined;
    const reader = body.getReader();
    const decoder = new ChunkDecoder();
    const parser = new FrameParser(
      {
        frame: (frame) => {
          // The host may have ended or restarted the stream at one before: what follows comes again, after that one.
          if (!signal.aborted) {
            this.#failures = 0;
            this.#host.onFrame(frame);
          }
        },
        comment: (text) => (this.#heartbeatMs = readHeartbeatComment(text) ?? this.#heartbeatMs),
        retry: (ms) => (this.#retryMs = ms),
      },
      MAX_EVENT_CHARACTERS,
    );
    // A wrapper of `fetch` may return a body that does not end with the signal.
    const forget = onAbort(signal, () => drop(reader));
    try {
      if (!signal.aborted) {
        this.#host.onStatus('open');
        this.#host.onOpen?.();
      }
      while (await this.#isReady(signal)) {
        const { done, value } = await this.#readSome(reader);
        if (done || signal.aborted) {
          break;
        }
        parser.push(decoder.decode(value));
      }
      if (signal.aborted) {
        throw new Error('aborted');
      }
    } finally {
      forget();
      drop(reader);
    }
  }

  /** Waits until the host can take more. @returns false if the attempt is over */
  async #isReady(signal: AbortSignal): Promise<boolean> {
    let ready: Promise<void> | undefined;
    while (!signal.aborted && (ready = this.#host.ready?.())) {
      await unlessAborted(ready, signal);
    }
    return !signal.aborted;
  }

  /** A read that counts as a sign of death if it takes too long. */
  async #readSome(reader: ReadableStreamDefaultReader<Uint8Array>) {
    const silenceMs = this.#silenceMs;
    if (silenceMs === undefined) {
      return reader.read();
    }
    let timer = setTimeout(() => {
      timer = setTimeout(() => this.#takeForDead(silenceMs), STALL_GRACE_MS);
    }, silenceMs);
    try {
      return await reader.read();
    } finally {
      clearTimeout(timer);
    }
  }
}
