import {
  disarmPromises,
  encodeComment,
  encodeEvent,
  encodeHeartbeatComment,
  encodeRetry,
  HEARTBEAT,
  isContentFault,
  readAddedTopics,
  readResumeId,
  readsAnnouncements,
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
  tellStreamOpen,
  uncoverResponse,
  waitsForSocket,
  wasFinished,
  watchAnswer,
  whenEnded,
} from '../http/index.js';
import type { AnswerGuard, Covered, Platform, RawResponse } from '../http/index.js';
import { NO_KEYS } from '../limits/index.js';
import type { QueueingClient } from '../limits/index.js';
import type { Deadline } from '../time/index.js';
import { encodeClosing } from './closing-frames.js';
import type { Closing, ClosingFrames } from './closing-frames.js';
import { newOutput } from './compressed-output.js';
import { SseConnection } from './connection.js';
import type { CloseReason } from './connection.js';
import type { Feed } from './feed.js';
import type { Follow, FollowOptions, Patterns } from './following.js';
import {
  warnOfAnswer,
  warnOfEarlyEnd,
  warnOfUncut,
  warnOfUnshared,
  warnOfWrappedWrite,
} from './foreign-answers.js';
import { beat } from './heartbeat.js';
import { Lifetime, LINGER_MS } from './lifetime.js';
import { Outbox } from './outbox.js';
import type { OutboxOwner } from './outbox.js';
import type { OutputOwner, ResponseOutput } from './output.js';
import { OwnResponse } from './response-owner.js';
import type { ConnectionHost, ConnectionInit, ConnectionSettings } from './response-host.js';
import type { ResponseOwner, WaitsForHeaders } from './response-owner.js';
import { Waiters } from './waiters.js';

// An id of the app's own would send the client back to a position that the log does not have.
const FOREIGN_ID =
  '"id" cannot be sent on a connection that follows topics: its ids are positions in the log. ' +
  'Publish the event, or send it without an id.';
const REVOKED = { type: 'revoked', data: {} };
// If the response is cut right behind the last frame, some proxies drop that frame: Apache and nghttpx did.
const CUT_PAUSE_MS = 250;
// A destroyed response emits 'close' at once, unless a wrapper swallows it, or it has no socket.
const UNANSWERED_MS = 500;
// An end this soon after the beginning is a mistake: Nest has answered for the handler.
const EARLY_END_MS = 1_000;

/**
 * One client's open response, and the only writer to it. Frames leave whole and in order, and a client that does not
 * read is bounded in memory.
 *
 * Its phases: `pending` until the headers are out, then `open`, then `closed` for a reason. A closed response may still
 * have bytes to deliver. It is disposed when Node's response has closed and everything is released.
 */
export class EventStreamResponse implements AnswerGuard, OutboxOwner, OutputOwner, QueueingClient {
  /** The same stream, as the app sees it. */
  readonly forApp: SseConnection;
  /**
   * The `Last-Event-ID` of the client. Undefined for a new client. Empty if the client sent an id that cannot be ours:
   * it is not new, and has no position.
   */
  readonly resumeId: string | undefined;
  /** The keys that the connection belongs to, by the app's `keyOf`. */
  readonly keys: readonly string[];

  readonly #platform: Platform;
  readonly #raw: RawResponse;
  readonly #settings: ConnectionSettings;
  readonly #host: ConnectionHost;
  readonly #owner: ResponseOwner;
  readonly #finite: boolean;
  readonly #hasSource: boolean;

  #phase: 'pending' | 'open' | 'closed' = 'pending';
  #isCommitting = false;
  #isDisposed = false;
  readonly #output: ResponseOutput;
  readonly #outbox: Outbox;
  readonly #lifetime: Lifetime;
  readonly #waiters = new Waiters();
  #feed: Feed | undefined;
  #closingFrames: ClosingFrames | undefined;
  #heartbeat: Deadline | undefined;
  #forgetSocket: (() => void) | undefined;
  /** When the headers were sent, by the wheel's clock; undefined before that. */
  #openedAt: number | undefined;
  #isCovered = false;
  /** From the last frame on until the response is destroyed. An end in between would read as success. */
  #isCutting = false;
  /** Everything is sent, and the end is still to come. */
  #isHeld = false;
  /** Determined at the beginning: at the end a response has no socket. */
  readonly #canBeCut: boolean;
  /** The response's own methods, under those of this package. */
  covered: Covered | undefined;

  constructor(init: ConnectionInit) {
    const { platform, settings, host } = init;
    this.#platform = platform;
    this.#raw = platform.raw;
    this.#settings = settings;
    this.#host = host;
    this.#finite = init.finite;
    this.#hasSource = init.hasSource === true;
    this.keys = init.keys ?? NO_KEYS;
    this.#owner = init.owner ?? new OwnResponse(platform, init.headers);
    const { headers, url } = platform.rawRequest;
    this.resumeId = readResumeId(headers['last-event-id'], url);
    this.forApp = new SseConnection(this, init.data);
    setGuard(this.#raw, this);
    this.#raw.on('close', onResponseClose);
    this.#output = newOutput(settings.compression, platform, this, host);
    this.#outbox = new Outbox(this, this.#output, init);
    this.#lifetime = new Lifetime(settings, host.wheel, () => this.interrupt('expired'));
    this.#raw.on('prefinish', onResponseEnd);
    this.#raw.on('error', onStrayWrite);
    this.#canBeCut = canBeCut(this.#raw);
    if (!this.#canBeCut) {
      this.#raw.on('finish', onResponseFinish);
    }
    if (isGone(this.#raw)) {
      this.#close('client');
      this.#dispose();
    } else if (this.#raw.writableEnded) {
      this.#close('server');
      if (this.#raw.writableFinished) {
        this.#dispose();
      }
    } else {
      this.#lifetime.start();
      const socket = waitsForSocket(this.#raw);
      if (socket) {
        this.#forgetSocket = whenEnded(socket, () => this.onResponseClose());
        this.#raw.on('socket', onResponseSocket);
      }
    }
  }

  /** The framework's request. */
  get request(): unknown {
    return this.#platform.request;
  }

  /** The pattern of the route, or else the path. */
  get route(): string {
    return this.#platform.route;
  }

  /** When the headers were sent, by the wheel's clock; undefined before that. */
  get openedAt(): number | undefined {
    return this.#openedAt;
  }

  get reporter(): Reporter {
    return this.#host.reporter;
  }

  /** Where a feed writes to. */
  get output(): ResponseOutput {
    return this.#output;
  }

  get feed(): Feed | undefined {
    return this.#feed;
  }

  /** Whether the feed has something to deliver before what the app sends. */
  get isBehind(): boolean {
    return this.#feed?.isBehind === true;
  }

  /** Whether the headers are still to come. */
  get isPending(): boolean {
    return this.#phase === 'pending';
  }

  get isClosed(): boolean {
    return this.#phase === 'closed';
  }

  /** Whether anything has been sent, or waits for the headers. */
  get hasBegun(): boolean {
    return this.#raw.headersSent || this.#outbox.isHolding;
  }

  /** Whether the headers are out. A failure has no status any more. */
  get hasHeadersOut(): boolean {
    return this.#raw.headersSent;
  }

  /** Whether it is the response of an `@Sse()` handler, for which Nest sends the headers. */
  get isOfSseRoute(): boolean {
    return !(this.#owner instanceof OwnResponse);
  }

  /** UTF-8 bytes of the frames that were sent, including those that wait. */
  get bytesSent(): number {
    return this.#outbox.bytesSent;
  }

  /** Aborts when the response closes. */
  get signal(): AbortSignal {
    return this.#waiters.signal;
  }

  /** Resolves with the reason when the response closes. Never rejects. */
  get closed(): Promise<CloseReason> {
    this.#notifyWaiting('end');
    return this.#waiters.closed;
  }

  /** Resolves when the response is disposed, to whether it was sent to its end. Never rejects. */
  get disposed(): Promise<boolean> {
    return this.#waiters.disposed;
  }

  /** Calls the listener once the headers are out, at once if they are. */
  whenOpen(listener: () => void): void {
    if (this.#phase === 'open') {
      listener();
    } else if (this.#phase === 'pending') {
      this.#waiters.whenOpen(listener);
    }
  }

  /** Calls the listener once, in the turn in which the response closes, at once if it is closed. */
  whenClosed(listener: (reason: CloseReason) => void): void {
    this.#waiters.whenClosed(listener);
  }

  /** Schedules on the wheel of all responses. */
  schedule<S>(delayMs: number, expire: (subject: S) => void, subject: S): Deadline {
    return this.#host.wheel.schedule(delayMs, expire, subject);
  }

  cancel(deadline: Deadline | undefined): void {
    this.#host.wheel.cancel(deadline);
  }

  // ── Sending

  /** See {@link SseConnection.send}. */
  send(event: SseEventInput): boolean {
    try {
      return this.sendPart(event);
    } catch (error) {
      return this.#reportContentFault(error);
    }
  }

  /** See {@link SseConnection.comment}. */
  comment(text: string): boolean {
    try {
      return this.#isWritable() && this.#outbox.push(encodeComment(text, this.#settings), 0);
    } catch (error) {
      return this.#reportContentFault(error);
    }
  }

  /**
   * Sends an event of an answer that would look complete without it. Unlike {@link send} it throws if the content of
   * the event cannot be sent.
   */
  sendPart(event: SseEventInput): boolean {
    if (!this.#isWritable()) {
      disarmPromises(event);
      return false;
    }
    const frame = encodeEvent(event, this.#settings, this.#feed && FOREIGN_ID);
    this.#reportUnknownFields(event);
    return this.#outbox.push(frame);
  }

  /** Sends an item of a source: a part of an answer, or an event of a stream that goes on without it. */
  sendItem(event: SseEventInput): boolean {
    return this.#finite ? this.sendPart(event) : this.send(event);
  }

  /** Sends the event that reports a failure, however long it is: to refuse it would hide the failure. */
  sendFailure(event: SseEventInput): void {
    if (this.#isWritable()) {
      this.#outbox.push(encodeEvent(event, { maxEventBytes: Infinity }));
    }
  }

  /** See {@link SseConnection.drained}. */
  drained(): Promise<void> {
    // A response that has ended is closed in a later turn. If this resolved before, a loop that sends and waits would
    // never leave the present turn.
    if (this.#phase === 'closed' || (this.#outbox.keepsUp && this.#isWritable())) {
      return Promise.resolve();
    }
    return this.#outbox.drained();
  }

  /** Lets the frames of this turn leave. */
  endTurn(): void {
    this.#outbox.endTurn();
  }

  #isWritable(): boolean {
    return this.#phase !== 'closed' && this.#output.isWritable;
  }

  /** Reports an event whose content cannot be sent. Any other error is a mistake in the code, and is thrown. */
  #reportContentFault(error: unknown): false {
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

  // ── The feed

  /** See {@link SseConnection.follow}. */
  follow(patterns: Patterns, options: FollowOptions): Follow {
    if (!this.#host.following) {
      throw new SseError('module-missing', 'follow() needs the topics of SseModule.forRoot().');
    }
    return this.#host.following.follow(this, patterns, options);
  }

  /**
   * Refuses a second feed: the ids of two logs on one response would send its client back to a position that does not
   * exist.
   *
   * @throws SseError `misuse` if a feed is attached
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
   * Attaches the feed that writes to this response. Frames sent earlier are written first.
   *
   * @throws SseError `misuse` if a feed is attached
   */
  attachFeed(feed: Feed): void {
    this.refuseSecondFeed();
    this.#feed = feed;
    this.#notifyWaiting('feed');
    this.#outbox.markFeed();
  }

  /** Whether the feed must call {@link shareFeed}. */
  get wantsSharing(): boolean {
    return this.#settings.compression === 'stream' && !this.isClosed;
  }

  /**
   * Sets with which clients this one shares what the feed writes live: with all that have the same key. A compressed
   * block may then refer to the one before it. Without a key, this client alone gets it.
   */
  shareFeed(key: string | undefined): void {
    if (key === undefined) {
      this.#output.unshare();
      warnOfUnshared(this.#host, this.#platform);
    } else {
      // A heartbeat is written to all of them at once.
      this.#output.share(`${this.#settings.heartbeatMs} ${key}`);
    }
  }

  /** Writes the frames that waited behind the feed, which has caught up. */
  writeHeld(): void {
    if (this.#outbox.isHolding && this.#isWritable()) {
      this.#output.write(this.#outbox.takeAll());
      this.#host.onQueue(this);
    }
    this.#outbox.wakeIfKeepsUp();
    this.#host.onCaughtUp(this);
  }

  // ── Opening

  /**
   * Sends the headers, `retry` first, then the held frames.
   *
   * @throws what Node or middleware throws at the headers; the response can still be answered, once it is released
   */
  commit(): void {
    if (this.#phase !== 'pending' || this.#isCommitting) {
      return;
    }
    this.#isCommitting = true;
    try {
      this.#owner.commit(() => this.#open(), this.#output.coding);
    } catch (error) {
      this.#isCommitting = false;
      throw error;
    }
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
    const first = this.#outbox.takeFirst(this.#feed !== undefined);
    // Always: without it the client would keep the `retry` of an earlier shutdown for good.
    this.#output.write(encodeRetry(this.#settings.retryMs) + this.#announcement + first);
    this.#tellOpen();
    if (first !== '') {
      this.#host.onQueue(this);
    }
    if (this.isClosed) {
      return;
    }
    if (this.#platform.method === 'HEAD') {
      this.finish('server');
      return;
    }
    this.#beat();
    this.#waiters.tellOpen();
    this.#outbox.wakeIfKeepsUp();
  }

  #tellOpen(): void {
    try {
      tellStreamOpen(this.#raw);
    } catch (error) {
      // The app's own listener: this may run in a timer, where an uncaught error would crash the process.
      this.#host.reporter.error('What waited for the answer to a request failed.', error);
    }
  }

  /** Tells a client that reads it how long silence may last, so that it notices a dead connection. */
  get #announcement(): string {
    const { heartbeatMs } = this.#settings;
    return heartbeatMs !== false && this.announces ? encodeHeartbeatComment(heartbeatMs) : '';
  }

  /** Whether the client reads announcements, as `nestjs-event-stream/client` does. */
  get announces(): boolean {
    return readsAnnouncements(this.#platform.rawRequest.headers.accept);
  }

  /** Patterns that the client names as new to it. */
  get addedTopics(): readonly string[] {
    return readAddedTopics(this.#platform.rawRequest.url);
  }

  #notifyWaiting(what: WaitsForHeaders): void {
    if (this.#phase === 'pending' && !this.#isCommitting) {
      this.#owner.onWaiting?.(what);
    }
  }

  // ── Ending

  /** Sets the closing frames that tell the client why the stream ends. An end without them would read as success. */
  endWith(closingFrames: ClosingFrames): void {
    this.#closingFrames = closingFrames;
  }

  /**
   * Ends the response in order. The client takes it for complete, unless closing frames say otherwise.
   *
   * @param holdMs - how long the response stays open after its last frame: see {@link endHeld}
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
    this.#closeWith(reason, { retryMs, frames }, (last) => {
      if (last) {
        this.#output.write(last);
      }
      if (holdMs > 0) {
        this.#isHeld = true;
        this.#lifetime.set(holdMs, () => this.endHeld());
      } else {
        this.#owner.end();
      }
    });
    this.#outbox.countSent(frames ? Buffer.byteLength(frames) : 0);
  }

  /** Ends a response that was held open after its last frame. */
  endHeld(): void {
    if (this.#isHeld && !this.#isDisposed) {
      this.#isHeld = false;
      this.#lifetime.set(LINGER_MS, () => this.#destroyRaw());
      this.#attempt(() => this.#owner.end());
    }
  }

  /**
   * Ends the response while the stream goes on elsewhere. It is finished if the client can come back or its format has
   * closing frames, and cut if the client would take the end for success.
   */
  interrupt(reason: CloseReason, retryMs?: number): void {
    if (this.#finite && !this.#closingFrames) {
      this.cut(reason, retryMs);
    } else {
      this.finish(reason, retryMs);
    }
  }

  /** Ends the response of a client whose right to it was taken away, and says so if its format allows that. */
  revoke(): void {
    if (!this.#closingFrames && this.#finite) {
      this.sendFailure(REVOKED);
    } else {
      this.#closingFrames ??= () => encodeEvent(REVOKED, { maxEventBytes: Infinity });
    }
    this.interrupt('revoked');
  }

  /** Delivers what was sent, then destroys the response, so that its end does not read as success. */
  cut(reason: CloseReason, retryMs?: number): void {
    if (this.#phase === 'closed') {
      return;
    }
    this.#closeWith(reason, { retryMs }, (last) => {
      this.#output.write(last || HEARTBEAT);
      if (this.#canBeCut) {
        this.#isCutting = true;
        this.#cutLater();
      } else {
        // A serverless adapter answers at 'finish', and would wait for it forever.
        warnOfUncut(this.#host, this.#platform);
        this.#owner.end();
      }
    });
  }

  /** Closes and destroys the response at once. Bytes that wait are lost. */
  destroy(reason: CloseReason): void {
    this.#close(reason);
    this.#destroyRaw();
  }

  /** Gives back a response to which nothing was written, so that the app's filters can answer. */
  release(): void {
    if (this.#isDisposed) {
      return;
    }
    this.#close('error');
    removeGuard(this.#raw);
    this.#raw.removeListener('error', onStrayWrite);
    this.#releaseAll();
  }

  /**
   * Disposes the response, although it has not emitted 'close': a wrapper of `destroy` may swallow it, and a fake
   * socket never emits it.
   */
  disposeUnanswered(): void {
    if (!this.#isDisposed) {
      destroyCarrier(this.#raw);
      this.#dispose();
    }
  }

  /**
   * Closes the response and ends it after what was sent, once its headers are out. The last bytes may take their time
   * to reach the client.
   */
  #closeWith(reason: CloseReason, closing: Closing, end: (last: string) => void): void {
    this.#output.flush();
    const last = encodeClosing(closing);
    const isPending = this.#phase === 'pending';
    const held = this.#outbox.takeAll();
    this.#close(reason);
    this.#lifetime.set(LINGER_MS, () => this.#destroyRaw());
    if (!isPending) {
      this.#attempt(() => end(held + last));
      return;
    }
    try {
      this.#owner.commit(() => {
        if (this.#raw.writableEnded || isGone(this.#raw)) {
          return;
        }
        this.#cover();
        // A client that is turned away is told one time to come back: its own.
        const isTold = held === '' && closing.retryMs !== undefined;
        const first = isTold ? '' : encodeRetry(this.#settings.retryMs);
        this.#attempt(() => end(first + held + last));
        this.#tellOpen();
      }, this.#output.coding);
    } catch (error) {
      // Middleware that hooks `writeHead` may throw. This may run inside a timer: an uncaught error here would crash
      // the process.
      this.#host.reporter.error('A response could not be ended: its headers cannot be sent.', error);
      this.#destroyRaw();
    }
  }

  /** Enters the phase `closed`: nothing more can be sent. */
  #close(reason: CloseReason): void {
    if (this.#phase === 'closed') {
      return;
    }
    const hasSentAlone = !this.#feed && this.#outbox.bytesSent > 0;
    if (hasSentAlone && this.wantsSharing && this.#output.isCompressed) {
      warnOfUnshared(this.#host, this.#platform);
    }
    this.#phase = 'closed';
    this.#outbox.close();
    this.#host.wheel.cancel(this.#heartbeat);
    this.#lifetime.cancel();
    this.#host.onClosed(this, reason, this.#openMs);
    this.#waiters.close(reason);
    this.#output.close();
    this.#feed?.onClosed();
    this.#waiters.tellClosed(reason, this.#host.reporter);
  }

  /** Ends the response. If that throws, the response is destroyed. */
  #attempt(end: () => void): void {
    try {
      end();
    } catch (error) {
      this.onBroken(error);
    }
  }

  /** Destroys the response a moment after its last bytes have left this process. */
  #cutLater(): void {
    if (this.#isDisposed) {
      return;
    }
    const giveUpAt = this.#host.wheel.now() + LINGER_MS;
    const check = (): void => {
      // Not by the callback of a write: a wrapper may drop it.
      if (this.#output.waitingBytes > 0 && this.#host.wheel.now() < giveUpAt) {
        this.#lifetime.set(CUT_PAUSE_MS, check);
      } else {
        this.#destroyRaw();
      }
    };
    this.#lifetime.set(CUT_PAUSE_MS, check);
  }

  #destroyRaw(): void {
    if (this.#isDisposed) {
      return;
    }
    const hasSocket = this.#raw.stream !== undefined || this.#raw.socket !== null;
    // Before the response is destroyed, which may call back.
    this.#lifetime.set(UNANSWERED_MS, () => this.disposeUnanswered());
    try {
      destroyResponse(this.#raw);
    } catch (error) {
      this.#host.onBroken(this.#platform.route, error);
    }
    // A response that has had no turn on its socket emits no 'close'.
    if (!hasSocket) {
      this.#dispose();
    }
  }

  #dispose(): void {
    if (!this.#isDisposed) {
      this.#releaseAll();
      try {
        this.#owner.onDisposed?.();
      } catch (error) {
        this.#host.reporter.error('What was to end with a connection failed to.', error);
      }
    }
  }

  #releaseAll(): void {
    const isFinished = this.#canBeCut ? wasFinished(this.#raw) : this.#raw.writableEnded;
    this.#isDisposed = true;
    this.#lifetime.cancel();
    this.#forgetSocket?.();
    this.#uncover();
    this.#raw.removeListener('close', onResponseClose);
    this.#raw.removeListener('finish', onResponseFinish);
    this.#raw.removeListener('prefinish', onResponseEnd);
    this.#raw.removeListener('socket', onResponseSocket);
    this.#output.release();
    this.#host.onDisposed(this);
    this.#waiters.dispose(isFinished);
  }

  // ── Events of the response

  onResponseClose(): void {
    this.#close(this.#raw.writableEnded ? 'server' : 'client');
    this.#dispose();
  }

  /** Called only for a response that was pipelined behind another, when it has its turn. */
  onResponseSocket(): void {
    // Node emits 'close' of the response before it in the next tick: until then that one has its place.
    process.nextTick(() => this.#host.onTurn(this));
  }

  /** Called only for a response without a real socket, which emits no 'close'. */
  onResponseFinish(): void {
    this.#close('server');
    setImmediate(() => this.#dispose());
  }

  onFull(): void {
    this.#feed?.onFull();
    this.#host.onQueue(this);
  }

  onDrained(): void {
    this.#host.onQueue(this);
    this.#feed?.onDrain();
    this.#outbox.wakeIfKeepsUp();
  }

  /** Destroys a response that threw. Other clients are not concerned. */
  onBroken(error: unknown): void {
    if (!this.#isDisposed) {
      this.#host.onBroken(this.#platform.route, error);
      this.destroy('error');
    }
  }

  onWrapped(): void {
    warnOfWrappedWrite(this.#host, this.#platform, this.#settings.compression);
  }

  /**
   * Handles a call of the response's `end`. A call by this package passes. Other code may call it, too, such as the
   * filter of an interceptor with `timeout()`. The end of an answer would then read as success: the stream fails.
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
      const answer = endUnderOurs(this.#raw, this.covered, this.#output.takeLast(args));
      watchAnswer(answer, (error) => this.onBroken(error));
      return answer;
    } catch (error) {
      this.onBroken(error);
      return this.#raw;
    }
  }

  /** Handles a call of the `write` of a compressed response. */
  onWrite(args: readonly unknown[]): unknown {
    return this.#output.onWrite(args, this.covered);
  }

  /** Fails the stream if other code answers with a status of its own. */
  onAnswer(status: number): void {
    if (this.#phase === 'open' && status >= 400) {
      this.#fail(`answered with status ${status}`);
    }
  }

  #fail(what: string): void {
    warnOfAnswer(this.#host, this.#platform, what);
    if (this.#closingFrames) {
      this.finish('error');
      return;
    }
    if (this.#hasSource && !this.#feed) {
      this.sendFailure({ type: 'error', data: MASKED_FAILURE.message });
    }
    this.cut('error');
  }

  /** The app has ended a stream whose client may come back. */
  #onAppEnd(): void {
    if (this.#openMs !== undefined && this.#openMs < EARLY_END_MS) {
      warnOfEarlyEnd(this.#host, this.#platform);
    }
    this.#output.flush();
    this.#close('server');
    this.#lifetime.set(LINGER_MS, () => this.#destroyRaw());
  }

  #cover(): void {
    if (!this.#isCovered) {
      this.#isCovered = true;
      this.covered = coverResponse(this.#raw, this.#output.isCompressed);
      this.#platform.cover();
    }
  }

  #uncover(): void {
    if (this.#isCovered) {
      uncoverResponse(this.#raw, this.covered);
      this.#platform.uncover();
    }
  }

  /** Milliseconds since the headers were sent; undefined before that. */
  get #openMs(): number | undefined {
    return this.#openedAt === undefined ? undefined : this.#host.wheel.now() - this.#openedAt;
  }

  // ── For the outbox and the limits

  get queuedBytes(): number {
    return this.#outbox.queuedBytes;
  }

  onQueue(): void {
    this.#host.onQueue(this);
  }

  onFrameHeld(): void {
    this.#notifyWaiting('frame');
  }

  joinTurn(): void {
    this.#host.joinTurn(this);
  }

  closeAsSlow(): void {
    this.destroy('slow');
  }

  // ── Time

  /** See {@link SseConnection.renew}. */
  renew(expiresAt: Date): void {
    if (!this.isClosed) {
      this.#lifetime.renew(expiresAt);
    }
  }

  static readonly #beatOf = (response: EventStreamResponse): void => response.#beat();

  #beat(): void {
    const { heartbeatMs } = this.#settings;
    if (heartbeatMs === false || this.#phase !== 'open') {
      return;
    }
    if (this.#raw.writableEnded) {
      // The app has ended it. The client has a limited time to read the rest.
      this.#closeWith('server', {}, () => undefined);
      return;
    }
    const { wheel } = this.#host;
    const waitMs = beat(this.#output, heartbeatMs, wheel.now());
    this.#heartbeat = wheel.schedule(waitMs, EventStreamResponse.#beatOf, this);
  }
}

/** The event stream that is written to a response, if there is one. */
export function eventStreamOf(raw: RawResponse): EventStreamResponse | undefined {
  return guardOf(raw) as EventStreamResponse | undefined;
}

// One listener function for all responses, which are many. Each finds its own event stream.

function onResponseClose(this: RawResponse): void {
  eventStreamOf(this)?.onResponseClose();
}

function onResponseFinish(this: RawResponse): void {
  eventStreamOf(this)?.onResponseFinish();
}

function onResponseSocket(this: RawResponse): void {
  eventStreamOf(this)?.onResponseSocket();
}

/** Called within every `end()`: see the event `prefinish` of Node's `OutgoingMessage`. HTTP/2 does not have it. */
function onResponseEnd(this: RawResponse): void {
  eventStreamOf(this)?.output.onEnd();
}

// If the app writes to a response that has ended, 'error' is emitted in a later turn: without a listener the process
// would crash. No client gets such a write, and send() returns false by then.
function onStrayWrite(): void {
  return;
}
