import {
  disarmPromises,
  encodeComment,
  encodeEvent,
  encodeRetry,
  HEARTBEAT,
  isContentFault,
  readResumeId,
  unknownFields,
} from '../wire/index.js';
import type { SseEventInput } from '../wire/index.js';
import { MASKED_FAILURE, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import {
  canBeCut,
  compactHead,
  coverResponse,
  destroyCarrier,
  destroyResponse,
  endUnderOurs,
  guardOf,
  isGone,
  removeGuard,
  setGuard,
  spareFromIdleTimeout,
  uncoverResponse,
  waitsForSocket,
  wasFinished,
  watchAnswer,
  whenEnded,
} from '../http/index.js';
import type { AnswerGuard, Covered, Platform, RawResponse } from '../http/index.js';
import type { Deadline } from '../time/index.js';
import { encodeClosing } from './closing-frames.js';
import type { Closing, ClosingFrames } from './closing-frames.js';
import { SseConnection } from './connection.js';
import type { CloseReason } from './connection.js';
import type { Feed } from './feed.js';
import type { Follow, FollowOptions, Patterns } from './following.js';
import { beat } from './heartbeat.js';
import { HeldFrames } from './held-frames.js';
import { ResponseOutput } from './output.js';
import type { OutputOwner } from './output.js';
import { OwnResponse } from './response-owner.js';
import type { ConnectionHost, ConnectionInit, ConnectionSettings } from './response-host.js';
import type { ResponseOwner, WaitsForHeaders } from './response-owner.js';

/** The connection that writes to a response, if one does. */
export function eventStreamOf(raw: RawResponse): EventStreamResponse | undefined {
  return guardOf(raw) as EventStreamResponse | undefined;
}

// While a log gives the ids, another one would send the client back to a place that does not exist.
const FOREIGN_ID =
  '"id" cannot be sent on a connection that follows topics: its ids are positions in the log. ' +
  'Publish the event, or send it without an id.';
// A client that has been told the end and does not read it is not waited for any longer.
const LINGER_MS = 30_000;
// A proxy that meets the cut right behind the last frame drops that frame: Apache and nghttpx did.
const CUT_PAUSE_MS = 250;
// A response that was destroyed says 'close' at once, unless something stands between, or it has no socket.
const UNANSWERED_MS = 500;
// An end that comes this soon after the beginning was not meant: Nest has answered for the handler.
const EARLY_END_MS = 1_000;
// Node's own high-water mark of a stream. It counts for frames that wait for the headers.
const HELD_HIGH_WATER_BYTES = 16_384;
// A proxy's cap is hit by none and a deploy's clients do not return as one: end up to a tenth earlier.
const ROTATION_JITTER = 0.1;

/**
 * One client's open response, and the only writer to it. Frames leave whole and in order, and a client that does not
 * read is bounded in memory.
 *
 * Its phases: `pending` until the headers are out, then `open`, then `closed` for a reason. A closed response may still
 * have bytes to deliver. It is disposed once that is over and everything is released.
 */
export class EventStreamResponse implements AnswerGuard, OutputOwner {
  /** The same stream as the app sees it. */
  readonly forApp: SseConnection;
  /**
   * The position that the client brings in `Last-Event-ID`. Undefined for a new client. Empty if the client sent an id
   * that cannot be ours: it is not new, and has no position.
   */
  readonly resumeId: string | undefined;

  readonly #platform: Platform;
  readonly #raw: RawResponse;
  readonly #settings: ConnectionSettings;
  readonly #host: ConnectionHost;
  readonly #owner: ResponseOwner;
  readonly #finite: boolean;
  readonly #hasSource: boolean;

  #phase: 'pending' | 'open' | 'closed' = 'pending';
  #reason: CloseReason | undefined;
  /** Set when the response is disposed: whether it had been sent to its end. */
  #wasFinished: boolean | undefined;
  #isCommitting = false;
  /** Frames that were sent before the headers were out. */
  #held: HeldFrames | undefined;
  #bytesSent = 0;
  readonly #output: ResponseOutput;
  #feed: Feed | undefined;
  #closingFrames: ClosingFrames | undefined;
  #isInTurn = false;
  /** Whether the client kept up as this turn began, or could not read yet: what it is sent in the turn is a burst. */
  #isBurst = false;
  /** Bytes sent since the last burst: as much of what waits is not of it, which goes out first. */
  #sentSinceBurst = 0;
  /** When a burst must have been read. */
  #burstLimit: Deadline | undefined;
  #openListeners: (() => void)[] | undefined;
  #heartbeat: Deadline | undefined;
  #limit: Deadline | undefined;
  #abort: AbortController | undefined;
  #closed: Deferred<CloseReason> | undefined;
  #disposed: Deferred<boolean> | undefined;
  #forgetSocket: (() => void) | undefined;
  #drainWaiters: (() => void)[] | undefined;
  /** Called once with the reason, in the turn in which the connection closes. */
  #closeListeners: ((reason: CloseReason) => void)[] | undefined;
  #openedAt = 0;
  #isCovered = false;
  /** From its last frame on until the response is destroyed: an end in between would read as success. */
  #isCutting = false;
  /** All is sent, and the end is still to come. */
  #isHeld = false;
  /** Looked up as it begins: at the end a response has no socket. */
  readonly #canBeCut: boolean;
  /** What is under our own methods of the response. */
  covered: Covered | undefined;

  constructor(init: ConnectionInit) {
    const { platform, settings, host } = init;
    this.#platform = platform;
    this.#raw = platform.raw;
    this.#settings = settings;
    this.#host = host;
    this.#finite = init.finite;
    this.#hasSource = init.hasSource === true;
    this.#owner = init.owner ?? new OwnResponse(platform, init.headers);
    const { headers, url } = platform.rawRequest;
    this.resumeId = readResumeId(headers['last-event-id'], url);
    this.forApp = new SseConnection(this, init.data);
    setGuard(this.#raw, this);
    this.#raw.on('close', onResponseClose);
    this.#output = new ResponseOutput(platform, this, host);
    this.#raw.on('prefinish', onResponseEnd);
    this.#raw.on('error', onStrayWrite);
    this.#canBeCut = canBeCut(this.#raw);
    if (!this.#canBeCut) {
      this.#raw.on('finish', onResponseFinish);
    }
    if (isGone(this.#raw)) {
      this.#settle('client');
      this.#dispose();
    } else if (this.#raw.writableEnded) {
      this.#settle('server');
      if (this.#raw.writableFinished) {
        this.#dispose();
      }
    } else {
      this.#limitLifetime();
      const socket = waitsForSocket(this.#raw);
      this.#forgetSocket = socket && whenEnded(socket, () => this.onResponseClose());
    }
  }

  /** The framework's request. */
  get request(): unknown {
    return this.#platform.request;
  }

  /** Aborts when the response closes. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#phase === 'closed') {
        this.#abort.abort();
      }
    }
    return this.#abort.signal;
  }

  /** Resolves with the reason when the response closes. Never rejects. */
  get closed(): Promise<CloseReason> {
    this.#tellWaiting('end');
    this.#closed ??= deferred(this.#reason);
    return this.#closed.promise;
  }

  /** See {@link SseConnection.send}. */
  send(event: SseEventInput): boolean {
    try {
      return this.sendPart(event);
    } catch (error) {
      return this.#leaveOut(error);
    }
  }

  /** See {@link SseConnection.comment}. */
  comment(text: string): boolean {
    try {
      return this.#isWritable() && this.#push(encodeComment(text, this.#settings));
    } catch (error) {
      return this.#leaveOut(error);
    }
  }

  /**
   * Sends an event of an answer that would look complete without it. As {@link send}, but throws what that reports.
   */
  sendPart(event: SseEventInput): boolean {
    if (!this.#isWritable()) {
      disarmPromises(event);
      return false;
    }
    const frame = encodeEvent(event, this.#settings, this.#feed && FOREIGN_ID);
    this.#reportUnknownFields(event);
    return this.#push(frame);
  }

  /** Sends an item of a source: a part of an answer, or an event of a stream that goes on without it. */
  sendItem(event: SseEventInput): boolean {
    return this.#finite ? this.sendPart(event) : this.send(event);
  }

  /** See {@link SseConnection.drained}. */
  drained(): Promise<void> {
    // A response that has ended is closed in a turn to come. To resolve before would let a loop that
    // sends and waits go on for ever within this one.
    if (this.#phase === 'closed' || (this.#keepsUp() && this.#isWritable())) {
      return Promise.resolve();
    }
    return new Promise((resolve) => (this.#drainWaiters ??= []).push(resolve));
  }

  /** See {@link SseConnection.follow}. */
  follow(patterns: Patterns, options: FollowOptions): Follow {
    if (!this.#host.following) {
      throw new SseError('module-missing', 'follow() needs the topics of SseModule.forRoot().');
    }
    return this.#host.following.follow(this, patterns, options);
  }

  /** UTF-8 bytes of the frames that were sent, waiting ones included. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  get reporter(): Reporter {
    return this.#host.reporter;
  }

  get isClosed(): boolean {
    return this.#phase === 'closed';
  }

  /** Whether anything has been sent, or is waiting for the headers to be. */
  get hasBegun(): boolean {
    return this.#raw.headersSent || this.#held !== undefined;
  }

  /** Whether it is the connection of an `@Sse()` handler, for which Nest sends the headers. */
  get isOfSseRoute(): boolean {
    return !(this.#owner instanceof OwnResponse);
  }

  #tellWaiting(what: WaitsForHeaders): void {
    if (this.#phase === 'pending' && !this.#isCommitting) {
      this.#owner.onWaiting?.(what);
    }
  }

  /** Whether the headers are out: a failure has no status any more. */
  get hasHeadersOut(): boolean {
    return this.#raw.headersSent;
  }

  /** Resolves when the response is disposed, to whether it was sent to its end. Never rejects. */
  get disposed(): Promise<boolean> {
    this.#disposed ??= deferred(this.#wasFinished);
    return this.#disposed.promise;
  }

  /** Sends the event that tells of a failure. However long it is: refused, it would hide that failure. */
  sendFailure(event: SseEventInput): void {
    if (this.#isWritable()) {
      this.#push(encodeEvent(event, { maxEventBytes: Infinity }));
    }
  }

  whenClosed(listener: (reason: CloseReason) => void): void {
    if (this.#reason) {
      listener(this.#reason);
    } else {
      // Of one, as most are: the first push() makes room for seventeen.
      this.#closeListeners = this.#closeListeners ? [...this.#closeListeners, listener] : [listener];
    }
  }

  /**
   * @throws SseError `misuse` where a feed is attached already: the ids of two logs on one response would send its
   * client back to a place that does not exist
   */
  refuseSecondFeed(): void {
    if (this.#feed) {
      throw new SseError(
        'misuse',
        'A connection has one feed: the topics that it follows, or one run. Answer follow() and runs.attach() on a ' +
          'response each; several topics stand in one follow(), or in several on the same connection.',
      );
    }
  }

  /**
   * Attaches the feed that writes to this connection. Frames sent earlier are written first.
   *
   * @throws SseError `misuse` where one is attached already
   */
  attachFeed(feed: Feed): void {
    this.refuseSecondFeed();
    this.#feed = feed;
    this.#tellWaiting('feed');
    this.#held?.markFeed();
  }

  /** Whether its feed has something to deliver. */
  get isBehind(): boolean {
    return this.#feed?.isBehind === true;
  }

  /** What feeds it. */
  get feed(): Feed | undefined {
    return this.#feed;
  }

  /** Calls once the headers are out; at once where they are. */
  whenOpen(listener: () => void): void {
    if (this.#phase === 'open') {
      listener();
    } else if (this.#phase === 'pending') {
      (this.#openListeners ??= []).push(listener);
    }
  }

  /** Where a feed writes to. */
  get output(): ResponseOutput {
    return this.#output;
  }

  /** Lets go what was sent in this turn. */
  endTurn(): void {
    this.#isInTurn = false;
    this.#output.uncork();
    if (this.#isBurst && this.#hasBacklog && !this.isClosed) {
      this.#host.wheel.cancel(this.#burstLimit);
      this.#burstLimit = this.#host.wheel.schedule(LINGER_MS, () => this.#closeIfUnread());
    }
  }

  get #hasBacklog(): boolean {
    return this.#output.waitingBytes > this.#settings.maxBufferedBytes;
  }

  #closeIfUnread(): void {
    // Less than that would not be waiting of anything newer.
    if (this.#output.waitingBytes > this.#sentSinceBurst + this.#settings.maxBufferedBytes) {
      this.destroy('slow');
    }
  }

  schedule<S>(delayMs: number, expire: (subject: S) => void, subject: S): Deadline {
    return this.#host.wheel.schedule(delayMs, expire, subject);
  }

  cancel(deadline: Deadline | undefined): void {
    this.#host.wheel.cancel(deadline);
  }

  /** Writes what waited behind the feed, which has nothing before it any more. */
  writeHeld(): void {
    if (this.#held && this.#isWritable()) {
      const frames = this.#held.join();
      this.#held = undefined;
      this.#write(frames);
    }
    if (this.#keepsUp()) {
      this.#wakeDrainWaiters();
    }
    this.#host.onCaughtUp(this);
  }

  /**
   * Sends the headers, `retry` first, then what was held.
   *
   * @throws what Node or middleware throws at the headers; the response can still be answered, once it is released
   */
  commit(): void {
    if (this.#phase !== 'pending' || this.#isCommitting) {
      return;
    }
    this.#isCommitting = true;
    try {
      this.#owner.commit(() => this.#open());
    } catch (error) {
      this.#isCommitting = false;
      throw error;
    }
  }

  /**
   * Has the stream say last why it ends, however it does: its client takes an end without it for
   * success.
   */
  endWith(closingFrames: ClosingFrames): void {
    this.#closingFrames = closingFrames;
  }

  /**
   * Ends the response politely: the client reads it to its end and takes it for complete, unless the
   * last words of a format say otherwise.
   *
   * @param holdMs how long the response is held open after it: see {@link endHeld}
   */
  finish(reason: CloseReason, retryMs?: number, holdMs = 0): void {
    if (this.#phase === 'closed') {
      return;
    }
    const frames = this.#closingFrames?.(reason);
    if (this.#closingFrames && frames === undefined) {
      this.cut(reason, retryMs);
      return;
    }
    this.#leave(reason, { retryMs, frames }, (closing) => {
      if (closing) {
        this.#write(closing);
      }
      if (holdMs > 0) {
        this.#isHeld = true;
        this.#setLimit(holdMs, () => this.endHeld());
      } else {
        this.#owner.end();
      }
    });
    this.#bytesSent += frames ? Buffer.byteLength(frames) : 0;
  }

  /** Ends a response that was held open after its last frame. */
  endHeld(): void {
    if (this.#isHeld && this.#wasFinished === undefined) {
      this.#isHeld = false;
      this.#setLimit(LINGER_MS, () => this.#destroyRaw());
      this.#attempt(() => this.#owner.end());
    }
  }

  /**
   * Ends the response from our side while the stream goes on elsewhere: a client that can come back
   * is told when; one for which the end means success sees the response cut instead, where its format
   * has no words for it.
   */
  interrupt(reason: CloseReason, retryMs?: number): void {
    if (this.#finite && !this.#closingFrames) {
      this.cut(reason, retryMs);
    } else {
      this.finish(reason, retryMs);
    }
  }

  /** Delivers what was sent, then destroys the response, so that its end is no success. */
  cut(reason: CloseReason, retryMs?: number): void {
    if (this.#phase === 'closed') {
      return;
    }
    this.#leave(reason, { retryMs }, (closing) => {
      this.#write(closing || HEARTBEAT);
      if (this.#canBeCut) {
        this.#isCutting = true;
        this.#cutLater();
      } else {
        // A serverless adapter answers with the whole at 'finish', and would wait for it without end.
        this.#host.warnOnce(
          `cut ${this.#platform.route}`,
          `${this.#platform.route}: a stream failed or was stopped, and its response has no connection that could be ` +
            'cut, as under a serverless adapter: it ends as if it were complete. Use a format, or doneEvent of stream().',
        );
        this.#owner.end();
      }
    });
  }

  /** Destroys the response when its last bytes have left this process, and have had a moment on the way. */
  #cutLater(): void {
    if (this.#wasFinished !== undefined) {
      return;
    }
    const giveUpAt = this.#host.wheel.now() + LINGER_MS;
    const look = (): void => {
      // Not by the callback of a write: a wrapper may drop it.
      if (this.#output.waitingBytes > 0 && this.#host.wheel.now() < giveUpAt) {
        this.#setLimit(CUT_PAUSE_MS, look);
      } else {
        this.#destroyRaw();
      }
    };
    this.#setLimit(CUT_PAUSE_MS, look);
  }

  #setLimit(delayMs: number, expire: () => void): void {
    this.#host.wheel.cancel(this.#limit);
    this.#limit = this.#host.wheel.schedule(delayMs, expire);
  }

  /** Ends the response at once; what waits is lost. */
  destroy(reason: CloseReason): void {
    this.#settle(reason);
    this.#destroyRaw();
  }

  /**
   * Lets go of a response to which nothing was written, so that the app's filters can answer.
   */
  release(): void {
    if (this.#wasFinished !== undefined) {
      return;
    }
    this.#settle('error');
    removeGuard(this.#raw);
    this.#raw.removeListener('error', onStrayWrite);
    this.#releaseAll();
  }

  #open(): void {
    if (this.#phase !== 'pending' || !this.#isWritable()) {
      return;
    }
    this.#phase = 'open';
    this.#openedAt = this.#host.wheel.now();
    this.#cover();
    spareFromIdleTimeout(this.#raw);
    compactHead(this.#raw);
    const first = this.#takeFirst();
    // Without a `retry` of ours the one of an earlier shutdown would stick in the client for good.
    this.#write(encodeRetry(this.#settings.retryMs) + first);
    if (this.isClosed) {
      return;
    }
    if (this.#platform.method === 'HEAD') {
      this.finish('server');
      return;
    }
    this.#beat();
    const listeners = this.#openListeners ?? [];
    this.#openListeners = undefined;
    listeners.forEach((listener) => listener());
    if (this.#keepsUp()) {
      this.#wakeDrainWaiters();
    }
  }

  /** Frames wait for the headers, or behind what the feed has to deliver before them. */
  get #mustHold(): boolean {
    return this.#phase === 'pending' || this.isBehind;
  }

  /** Takes what goes out with the headers: all that is held, or what was sent before there was a feed. */
  #takeFirst(): string {
    const held = this.#held;
    const first = (this.#feed ? held?.takeBeforeFeed() : held?.join()) ?? '';
    if (!this.#feed || held?.isEmpty) {
      this.#held = undefined;
    }
    return first;
  }

  get #heldBytes(): number {
    return this.#held?.bytes ?? 0;
  }

  #isWritable(): boolean {
    return this.#phase !== 'closed' && this.#output.isWritable;
  }

  #push(text: string): boolean {
    const chunk = this.#host.chunkOf(text);
    const bytes = chunk.frame.length;
    const mustHold = this.#mustHold;
    this.#joinTurn();
    // A client that keeps up may be sent more than the bound in one event: that is within maxEventBytes,
    // and what waits so far is what its socket takes, such as the headers.
    if (!this.#keepsUp() && this.#isTooMuch(bytes)) {
      this.destroy('slow');
      return false;
    }
    if (!this.#isBurst) {
      this.#sentSinceBurst += bytes;
    }
    this.#bytesSent += bytes;
    if (mustHold) {
      this.#held ??= new HeldFrames();
      this.#held.add(text, bytes);
      this.#tellWaiting('frame');
    } else {
      // Written now, and only held back by the socket: the app may end the response in this very turn.
      this.#output.cork();
      this.#output.writeChunk(chunk);
    }
    return !this.isClosed && this.#keepsUp();
  }

  #joinTurn(): void {
    if (!this.#isInTurn) {
      this.#isInTurn = true;
      this.#isBurst = this.#phase === 'pending' || this.#keepsUp();
      if (this.#isBurst) {
        this.#sentSinceBurst = 0;
      }
      this.#host.joinTurn(this);
    }
  }

  /** Slow is a client that has had a turn to read: what is sent within one turn has a bound of its own. */
  #isTooMuch(bytes: number): boolean {
    const { maxBurstBytes, maxBufferedBytes } = this.#settings;
    const waiting = this.#mustHold ? this.#heldBytes : this.#output.waitingBytes;
    return this.#isBurst
      ? waiting + bytes > maxBurstBytes
      : Math.min(waiting, this.#sentSinceBurst) + bytes > maxBufferedBytes;
  }

  #write(text: string): void {
    this.#output.write(text);
  }

  #keepsUp(): boolean {
    return this.#mustHold ? this.#heldBytes < HELD_HIGH_WATER_BYTES : this.#output.keepsUp;
  }

  /** Reports an event that cannot be sent for its content; throws what the code gets wrong. */
  #leaveOut(error: unknown): false {
    if (!isContentFault(error)) {
      throw error;
    }
    this.#host.onContentFault(this.#platform.route, error);
    return false;
  }

  #reportUnknownFields(event: unknown): void {
    const fields = unknownFields(event);
    if (fields.length > 0) {
      this.#host.onUnknownFields(this.#platform.route, fields);
    }
  }

  /**
   * Closes now; the response says goodbye when its headers are out, after what was sent, and may
   * take its time to reach the client.
   */
  #leave(reason: CloseReason, told: Closing, end: (closing: string) => void): void {
    this.#output.flush();
    const closing = encodeClosing(told);
    const isPending = this.#phase === 'pending';
    const held = this.#held?.join() ?? '';
    this.#settle(reason);
    this.#setLimit(LINGER_MS, () => this.#destroyRaw());
    if (!isPending) {
      this.#attempt(() => end(held + closing));
      return;
    }
    try {
      this.#owner.commit(() => {
        if (this.#raw.writableEnded || isGone(this.#raw)) {
          return;
        }
        this.#cover();
        // A client that is turned away is told one time to come back, its own.
        const isTold = held === '' && told.retryMs !== undefined;
        const first = isTold ? '' : encodeRetry(this.#settings.retryMs);
        this.#attempt(() => end(first + held + closing));
      });
    } catch (error) {
      // Of middleware that has its say as headers are written. This is called from timers, where nobody catches.
      this.#host.reporter.error('A response could not be ended: its headers cannot be sent.', error);
      this.#destroyRaw();
    }
  }

  #settle(reason: CloseReason): void {
    if (this.#phase === 'closed') {
      return;
    }
    this.#phase = 'closed';
    this.#reason = reason;
    this.#held = undefined;
    this.#host.wheel.cancel(this.#heartbeat);
    this.#host.wheel.cancel(this.#burstLimit);
    this.#host.wheel.cancel(this.#limit);
    this.#host.onClosed(this);
    this.#abort?.abort();
    this.#closed?.resolve(reason);
    this.#wakeDrainWaiters();
    this.#output.close();
    this.#feed?.onClosed();
    const listeners = this.#closeListeners ?? [];
    this.#closeListeners = undefined;
    for (const listener of listeners) {
      try {
        listener(reason);
      } catch (error) {
        this.#host.reporter.error('What was to end with a connection failed to.', error);
      }
    }
  }

  /** Ends the response; one that throws there is destroyed. */
  #attempt(end: () => void): void {
    try {
      end();
    } catch (error) {
      this.onBroken(error);
    }
  }

  #destroyRaw(): void {
    if (this.#wasFinished !== undefined) {
      return;
    }
    const hasSocket = this.#raw.stream !== undefined || this.#raw.socket !== null;
    // Before the response is destroyed, which may call back.
    this.#setLimit(UNANSWERED_MS, () => this.disposeUnanswered());
    try {
      destroyResponse(this.#raw);
    } catch (error) {
      this.#host.onBroken(this.#platform.route, error);
    }
    // Node says nothing of the end of a response that has had no turn on its socket.
    if (!hasSocket) {
      this.#dispose();
    }
  }

  /**
   * Takes the response for over, though nothing has said so: a wrapper of `destroy` may swallow it, and a socket of
   * straw says nothing.
   */
  disposeUnanswered(): void {
    if (this.#wasFinished === undefined) {
      destroyCarrier(this.#raw);
      this.#dispose();
    }
  }

  /** The response is over. */
  #dispose(): void {
    if (this.#wasFinished === undefined) {
      this.#releaseAll();
      try {
        this.#owner.onDisposed?.();
      } catch (error) {
        this.#host.reporter.error('What was to end with a connection failed to.', error);
      }
    }
  }

  #releaseAll(): void {
    this.#wasFinished = this.#canBeCut ? wasFinished(this.#raw) : this.#raw.writableEnded;
    this.#host.wheel.cancel(this.#limit);
    this.#forgetSocket?.();
    this.#uncover();
    this.#raw.removeListener('close', onResponseClose);
    this.#raw.removeListener('finish', onResponseFinish);
    this.#raw.removeListener('prefinish', onResponseEnd);
    this.#output.release();
    this.#host.onDisposed(this);
    this.#disposed?.resolve(this.#wasFinished);
  }

  onResponseClose(): void {
    this.#settle(this.#raw.writableEnded ? 'server' : 'client');
    this.#dispose();
  }

  /** Of a response without a real socket: nothing says 'close' there. */
  onResponseFinish(): void {
    this.#settle('server');
    setImmediate(() => this.#dispose());
  }

  /** The response threw: it is one client's, and harms no other. */
  onBroken(error: unknown): void {
    if (this.#wasFinished === undefined) {
      this.#host.onBroken(this.#platform.route, error);
      this.destroy('error');
    }
  }

  /**
   * `end` of the response was called: by us, which passes, or by other code, such as the filter of an interceptor with
   * `timeout()`. There the end of a finite answer would read as success, unless it has closing frames or is cut.
   */
  onEnd(args: readonly unknown[]): unknown {
    const isOpen = this.#phase === 'open' && !this.#raw.writableEnded;
    if (isOpen && this.#hasSource) {
      this.#fail('ended its response');
      return this.#raw;
    }
    if (this.#isCutting) {
      return this.#raw;
    }
    if (isOpen) {
      this.#onAppEnd();
    }
    try {
      const answer = endUnderOurs(this.#raw, this.covered, args);
      watchAnswer(answer, (error) => this.onBroken(error));
      return answer;
    } catch (error) {
      this.onBroken(error);
      return this.#raw;
    }
  }

  onAnswer(status: number): void {
    if (this.#phase === 'open' && status >= 400) {
      this.#fail(`answered with status ${status}`);
    }
  }

  /** Other code has done with the response what fails the stream. */
  #fail(what: string): void {
    const { route, method } = this.#platform;
    this.#host.warnOnce(
      `answer ${method} ${route}`,
      `${method} ${route}: other code ${what} after the event stream had begun, such as an exception filter for an ` +
        'error of the handler, or an interceptor with timeout(). The stream was closed as "error".',
    );
    if (this.#closingFrames) {
      this.finish('error');
      return;
    }
    if (this.#hasSource && !this.#feed) {
      this.sendFailure({ type: 'error', data: MASKED_FAILURE.message });
    }
    this.cut('error');
  }

  /** The app has ended a stream whose end says nothing but that its client may come back. */
  #onAppEnd(): void {
    const { route, method } = this.#platform;
    if (this.#host.wheel.now() - this.#openedAt < EARLY_END_MS) {
      this.#host.warnOnce(
        `end ${method} ${route}`,
        `${method} ${route}: other code ended the response as soon as the event stream had begun. Nest does so where ` +
          'a handler has @Res({ passthrough: true }), or no @Res() at all, or throws: take the response by @Res() ' +
          'alone. To end a stream, call connection.close().',
      );
    }
    this.#output.flush();
    this.#settle('server');
    this.#setLimit(LINGER_MS, () => this.#destroyRaw());
  }

  #cover(): void {
    if (!this.#isCovered) {
      this.#isCovered = true;
      this.covered = coverResponse(this.#raw);
      this.#platform.cover();
    }
  }

  #uncover(): void {
    if (this.#isCovered) {
      uncoverResponse(this.#raw, this.covered);
      this.#platform.uncover();
    }
  }

  onFull(): void {
    this.#feed?.onFull();
  }

  onDrained(): void {
    this.#feed?.onDrain();
    if (this.#keepsUp()) {
      this.#wakeDrainWaiters();
    }
  }

  #wakeDrainWaiters(): void {
    const waiters = this.#drainWaiters ?? [];
    this.#drainWaiters = undefined;
    waiters.forEach((wake) => wake());
  }

  #limitLifetime(): void {
    const { maxConnectionMs, expiresAt } = this.#settings;
    const rotateMs = (maxConnectionMs ?? Infinity) * (1 - Math.random() * ROTATION_JITTER);
    const expireMs = expiresAt ? expiresAt.getTime() - Date.now() : Infinity;
    const limitMs = Math.max(0, Math.min(rotateMs, expireMs));
    if (limitMs !== Infinity) {
      this.#limit = this.#host.wheel.schedule(limitMs, () => this.interrupt('expired'));
    }
  }

  static readonly #beatOf = (response: EventStreamResponse): void => response.#beat();

  /** Looks again when the silence could be long enough: cheaper than moving a deadline with each event. */
  #beat(): void {
    const { heartbeatMs } = this.#settings;
    if (heartbeatMs === false || this.#phase !== 'open') {
      return;
    }
    if (this.#raw.writableEnded) {
      // By the app itself. It is not waited for without end either.
      this.#leave('server', {}, () => undefined);
      return;
    }
    const { wheel } = this.#host;
    const waitMs = beat(this.#output, heartbeatMs, wheel.now());
    this.#heartbeat = wheel.schedule(waitMs, EventStreamResponse.#beatOf, this);
  }
}

/** Called within `end()`, by whomever: see the event `prefinish` of Node's `OutgoingMessage`. HTTP/2 has none. */
function onResponseEnd(this: RawResponse): void {
  eventStreamOf(this)?.output.onEnd();
}

function onResponseFinish(this: RawResponse): void {
  eventStreamOf(this)?.onResponseFinish();
}

/** One for all connections, which are many: each finds its own. */
function onResponseClose(this: RawResponse): void {
  eventStreamOf(this)?.onResponseClose();
}

// The app's own write to a response that has ended raises 'error' there, later, in no one's call:
// without a listener the process dies. It reaches no client, and sending through us says false.
function onStrayWrite(): void {
  return;
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function deferred<T>(value: T | undefined): Deferred<T> {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  if (value !== undefined) {
    resolve(value);
  }
  return { promise, resolve };
}
