import type { EventEmitter } from 'node:events';
import { Chunk } from '../wire/index.js';
import { SharedStreams } from '../compression/index.js';
import { RepeatedReport, show } from '../errors/index.js';
import type { ClosingFrames } from './closing-frames.js';
import type { CloseReason, SseConnection } from './connection.js';
import { ConnectionCounts } from './counts.js';
import { EventStreamResponse } from './event-stream-response.js';
import type { ConnectionHost, ConnectionInit } from './response-host.js';
import { DeadlineWheel } from '../time/index.js';
import { DEFAULT_LIMITS, Limits, QueuedBytes } from '../limits/index.js';
import { ServerSockets, waitsForSocket } from '../http/index.js';
import { Pipelines } from './pipelines.js';
import { Drain } from './drain.js';
import type { DrainSettings, Refusal } from './drain.js';
import type { Following } from './following.js';
import type { WriteCounts } from './output.js';
import type { Reporter } from '../errors/index.js';

/** The open connections of this process. */
export interface SseConnections extends Iterable<SseConnection> {
  /** How many are open. */
  readonly size: number;
  /**
   * Closes the connections for which the predicate returns true, by default all. The response to a GET is ended as by
   * {@link SseConnection.close}, and its client may come back. For a POST or a `stream()` such an end would read as
   * success: the response ends with the closing frames of its format, or is cut after what was sent.
   *
   * @example `sse.connections.close((connection) => connection.data === userId)` when a user logs out
   * @returns how many were closed
   */
  close(predicate?: (connection: SseConnection) => boolean): number;
}

const SHED_RETRY_MS = 30_000;
// Some clients ignore `retry`, and would come back 200 times a second.
const SHED_HOLD_MS = 5_000;
// A held response takes a socket. At most this many are held, and at most a tenth of maxConnections.
const MAX_HELD = 1_000;
const NO_BYTES = new Chunk('');
// About 4 ms of writes.
const WRITES_PER_TURN = 500;
// A bound for the memory of warnings that were given, in case their subjects have no end.
const MAX_WARNED = 1_000;

/** The responses of one module, with their limits, their timer and their end. */
export class ConnectionRegistry implements SseConnections, ConnectionHost {
  readonly wheel = new DeadlineWheel((error) =>
    this.reporter.error('What was to be done for a client at a time failed.', error),
  );
  readonly counts = new ConnectionCounts();
  readonly writeCounts: WriteCounts = { direct: 0, throughResponse: 0, events: 0, bytes: 0, savedBytes: 0 };
  readonly sharedStreams = new SharedStreams();
  readonly reporter: Reporter;
  readonly following: Following | undefined;
  readonly #open = new Set<EventStreamResponse>();
  /** Closed, with a response that still has bytes to deliver. */
  readonly #flushing = new Set<EventStreamResponse>();
  /** Turned away and held open. They do not count for `maxConnections`. */
  readonly #heldShed = new Set<EventStreamResponse>();
  readonly #maxHeld: number;
  /** The subjects of warnings that were given. Most are routes. */
  readonly #warned = new Set<string>();
  readonly #repeated: RepeatedReport;
  #lastFrame = '';
  #lastChunk = NO_BYTES;
  /** Responses that have something to write at the end of this turn. */
  readonly #writers: EventStreamResponse[] = [];
  /** How many of the open and flushing responses wait in a pipeline. */
  #queued = 0;
  readonly #maxConnections: number;
  readonly #limits: Limits;
  /** What waits for clients that do not read. */
  readonly #queuedBytes: QueuedBytes;
  /** They take no place until they have their turn. */
  readonly #pipelines: Pipelines;
  readonly #sockets = new ServerSockets(this.wheel);
  readonly #drain: Drain;

  constructor(options: {
    maxConnections: number;
    drain: DrainSettings;
    reporter: Reporter;
    /** Absent where nothing can be followed. */
    following?: Following;
    /** The limits of the process; the defaults if absent. */
    limits?: Limits;
  }) {
    this.#limits = options.limits ?? new Limits(DEFAULT_LIMITS, options.reporter);
    this.#queuedBytes = new QueuedBytes(this.#limits);
    this.#pipelines = new Pipelines(this.#limits.settings.waitingPerSocket);
    this.following = options.following;
    this.#maxConnections = options.maxConnections;
    this.#maxHeld = Math.min(MAX_HELD, Math.ceil(options.maxConnections / 10));
    this.#drain = new Drain(
      options.drain,
      {
        open: this.#open,
        flushing: this.#flushing,
        heldShed: this.#heldShed,
        forEach: (responses, act) => this.#forEach(responses, act),
      },
      this.#sockets,
    );
    this.reporter = options.reporter;
    this.#repeated = new RepeatedReport(options.reporter);
  }

  get size(): number {
    return this.#open.size;
  }

  /** How many have closed, and still have bytes to deliver. */
  get flushing(): number {
    return this.#flushing.size;
  }

  /** Bytes that wait in this process for clients that do not keep up, without those that are shared. */
  get queuedBytes(): number {
    return this.#queuedBytes.total;
  }

  /** Whether the app is closing: from the beginning of `drain.delayMs` on. */
  get isDraining(): boolean {
    return this.#drain.isRunning;
  }

  /** The open responses, those that were admitted first first. */
  get responses(): Iterable<EventStreamResponse> {
    return this.#open;
  }

  *[Symbol.iterator](): Iterator<SseConnection> {
    for (const response of this.#open) {
      yield response.forApp;
    }
  }

  close(predicate: (connection: SseConnection) => boolean = () => true): number {
    // The app's predicate may throw: it is called for all connections before the first is closed.
    const chosen = Array.from(this.#open).filter(({ forApp }) => predicate(forApp));
    this.#forEach(chosen, (response) => response.interrupt('server'));
    return chosen.length;
  }

  /** Ends the connections that belong to one of the keys. */
  revoke(keys: ReadonlySet<string>): void {
    const revoked = Array.from(this.#open).filter((response) => response.keys.some((key) => keys.has(key)));
    this.#forEach(revoked, (response) => response.revoke());
  }

  /**
   * Returns why a new client is turned away, or undefined if it is admitted.
   *
   * @param takesPlace - false for a client that is pipelined behind another
   */
  refusal(takesPlace = true): Refusal | undefined {
    if (this.#drain.hasBegun) {
      return this.#drain.refusal();
    }
    return takesPlace && this.#places >= this.#maxConnections ? refusalForNow() : undefined;
  }

  /** A response that is being flushed holds a socket and memory as well. */
  get #places(): number {
    return this.#open.size + this.#flushing.size - this.#queued;
  }

  /** Admits a client. Its headers are not sent yet. */
  admit(init: Omit<ConnectionInit, 'host'>): EventStreamResponse {
    const response = this.#begin(init);
    if (!response.isClosed) {
      this.#open.add(response);
      this.counts.opened += 1;
      if (this.#pipelines.has(response)) {
        this.#queued += 1;
      } else {
        this.#limits.connections.add(response.keys);
      }
    }
    return response;
  }

  #begin(init: Omit<ConnectionInit, 'host'>): EventStreamResponse {
    const { raw, route } = init.platform;
    const socket = waitsForSocket(raw);
    if (socket && this.#pipelines.isFull(socket)) {
      this.#limits.onSocketFull(route);
      socket.destroy();
    }
    const response = new EventStreamResponse({ ...init, host: this });
    if (socket && !response.isClosed) {
      this.#pipelines.add(response, socket);
    }
    return response;
  }

  /** Gives a place to a response that was pipelined behind another. If there is none, its client may come back. */
  onTurn(response: EventStreamResponse): void {
    const hasWaited = this.#pipelines.delete(response);
    if (!hasWaited || !(this.#open.has(response) || this.#flushing.has(response))) {
      return;
    }
    // Before the response takes its place, which would count as well.
    const refusal = this.refusal() ?? (this.#limits.place(response.keys) && refusalForNow());
    this.#queued -= 1;
    this.#limits.connections.add(response.keys);
    if (refusal) {
      this.#forEach([response], () => response.interrupt(refusal.reason, refusal.retryMs));
    }
  }

  /**
   * Turns away a client that can come back. It gets an event stream that says when, and ends after some seconds, or at
   * once if the app is closing. After a status of 503 an EventSource would never come back.
   *
   * @param closingFrames - given if the client would take an end without them for success
   */
  turnAway(
    init: Omit<ConnectionInit, 'host'>,
    { reason, retryMs }: Refusal,
    closingFrames?: ClosingFrames,
  ): EventStreamResponse {
    const response = this.#begin(init);
    if (closingFrames) {
      response.endWith(closingFrames);
    }
    const canHold =
      !this.#drain.hasBegun && init.platform.method === 'GET' && this.#heldShed.size < this.#maxHeld;
    if (canHold) {
      this.#heldShed.add(response);
    }
    response.finish(reason, retryMs, canHold ? SHED_HOLD_MS : 0);
    const { socket, stream } = init.platform.raw;
    void response.disposed.then(() => {
      if (this.#drain.hasBegun && !stream) {
        // A socket that is kept alive would delay the server's close() by its idle timeout.
        socket?.destroySoon();
      }
    });
    return response;
  }

  onClosed(response: EventStreamResponse, reason: CloseReason, openMs: number | undefined): void {
    this.#queuedBytes.update(response);
    if (this.#open.delete(response)) {
      this.counts.closed[reason] += 1;
      if (openMs !== undefined) {
        this.counts.lifetimes.add(openMs);
      }
      this.#flushing.add(response);
    }
  }

  onCaughtUp(response: EventStreamResponse): void {
    this.#drain.onCaughtUp(response);
  }

  onQueue(response: EventStreamResponse): void {
    this.#queuedBytes.update(response);
  }

  onDisposed(response: EventStreamResponse): void {
    this.#queuedBytes.delete(response);
    const wasAdmitted = this.#flushing.delete(response);
    if (this.#pipelines.delete(response)) {
      this.#queued -= wasAdmitted ? 1 : 0;
    } else if (wasAdmitted) {
      this.#limits.connections.remove(response.keys);
    }
    this.#heldShed.delete(response);
    this.#drain.onDisposed(response);
  }

  get lastChunk(): Chunk {
    return this.#lastChunk;
  }

  chunkOf(frame: string): Chunk {
    // Compares the text: an object that is sent twice may have changed in between.
    if (frame !== this.#lastFrame) {
      this.#lastFrame = frame;
      this.#lastChunk = new Chunk(frame);
    }
    return this.#lastChunk;
  }

  joinTurn(response: EventStreamResponse): void {
    if (this.#writers.length === 0) {
      setImmediate(() => this.#endTurn());
    }
    this.#writers.push(response);
  }

  /** Ends the turn of all writers, in slices. Between two slices the process serves other requests. */
  #endTurn(): void {
    this.#forEach(this.#writers.splice(0, WRITES_PER_TURN), (response) => response.endTurn());
    if (this.#writers.length > 0) {
      setImmediate(() => this.#endTurn());
      return;
    }
    // A frame of megabytes would stay in memory until the next one is sent.
    this.#lastFrame = '';
    this.#lastChunk = NO_BYTES;
  }

  /** Acts on each response. If one throws, it is destroyed, and the others are not concerned. */
  #forEach(responses: Iterable<EventStreamResponse>, act: (response: EventStreamResponse) => void): void {
    for (const response of responses) {
      try {
        act(response);
      } catch (error) {
        response.onBroken(error);
      }
    }
  }

  onBroken(route: string, error: unknown): void {
    this.#repeated.error(
      'broken',
      `A response of ${route} threw as it was written to or ended; it was destroyed. A middleware or an interceptor that ` +
        'wraps write, end or destroy may have a fault: the stack names it.',
      error,
    );
  }

  warnOnce(subject: string, message: string): void {
    if (!this.#warned.has(subject) && this.#warned.size < MAX_WARNED) {
      this.#warned.add(subject);
      this.reporter.warn(message);
    }
  }

  onUnknownFields(route: string, fields: string[]): void {
    this.warnOnce(
      route,
      `${route} sends events with ${fields.map(show).join(', ')}, ` +
        'which no event has and no client gets. An event has data, type, id, retry and comment; ' +
        'anything else belongs into data.',
    );
  }

  onContentFault(route: string, error: Error): void {
    // Repeats are counted by route, not by message: a message holds a user's data, so each would count as new.
    this.#repeated.error(
      `content of ${route}`,
      `An event of ${route} could not be sent, and was left out: ${error.message}`,
      error,
    );
  }

  /** Ends every response, as the app closes: see {@link Drain.run}. */
  drain(beforeEnding: () => Promise<void>): Promise<void> {
    return this.#drain.run(beforeEnding);
  }

  /** Closes a server's spare sockets and HTTP/2 sessions at the end of {@link drain}. */
  watchServer(server: EventEmitter): void {
    this.#sockets.watch(server);
  }
}

/** What a client is told if there is no place for it: to come back 15 to 45 s later. */
export function refusalForNow(): Refusal {
  return { retryMs: Math.round(SHED_RETRY_MS * (0.5 + Math.random())), reason: 'server' };
}
