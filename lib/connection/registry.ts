import type { EventEmitter } from 'node:events';
import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { Chunk } from '../wire/index.js';
import { MAX_TIMER_MS, RepeatedReport, show } from '../errors/index.js';
import { SseConnection } from './connection.js';
import type { CloseReason, ConnectionHost, ConnectionInit, LastWords } from './connection.js';
import { DeadlineWheel } from '../time/index.js';
import type { Deadline } from '../time/index.js';
import type { Following } from './following.js';
import type { WriteCounts } from './output.js';
import type { Reporter } from '../errors/index.js';

/** The open connections of this process. */
export interface SseConnections extends Iterable<SseConnection> {
  /** How many are open. */
  readonly size: number;
  /**
   * Ends those for which the predicate is true, all by default. A GET is ended as by
   * {@link SseConnection.close}, and its client may come back; where the end of the response would
   * mean success, as for a POST or a `stream()`, the response is cut after what was sent, or ends
   * with its format's word that it was stopped.
   *
   * @example `sse.connections.close((connection) => connection.data === userId)` when a user logs out
   * @returns how many were closed
   */
  close(predicate?: (connection: SseConnection) => boolean): number;
}

/** How the app leaves: see `drain` of the module's options. */
export interface DrainSettings {
  delayMs: number;
  timeoutMs: number;
  leastRetryMs?: number;
  spreadMs: number;
}

/** What a client that is not let in is told. */
export interface Refusal {
  /** When it may come back. */
  retryMs: number;
  reason: CloseReason;
}

// A client that was turned away comes back 15 to 45 s later, each at a time of its own.
const SHED_RETRY_MS = 30_000;
// Some clients pass over `retry`, and would be back 200 times a second.
const SHED_HOLD_MS = 5_000;
// Beyond that, and a tenth of maxConnections, an answer ends at once: what is held takes a socket.
const MAX_HELD = 1_000;
const NO_BYTES = new Chunk('');
// About 4 ms of writes.
const WRITES_PER_TURN = 500;
// Ended in one turn of the event loop; thousands would hold up everything else.
const CLOSED_PER_TURN = 500;
// What a connection has to send its request once the app is closing, and a client of HTTP/2 to hang up.
const SPARE_SOCKET_MS = 500;
// So that a log line for each route stays a log line for each route.
const MAX_WARNED = 1_000;
// What a response that was destroyed may take to say so.
const UNANSWERED_MS = 500;

/** What is known of an HTTP/2 session that is to end. */
interface SessionEnd {
  /** The session itself does not let go of it. */
  socket: Socket | undefined;
  /** Whether it had no stream left when it was last looked at. */
  isEnding: boolean;
}

/** All connections of one module, with its limits, its timer and its end. */
export class ConnectionRegistry implements SseConnections, ConnectionHost {
  readonly wheel = new DeadlineWheel((error) =>
    this.reporter.error('What was to be done for a client at a time failed.', error),
  );
  readonly writeCounts: WriteCounts = { direct: 0, throughResponse: 0 };
  readonly reporter: Reporter;
  readonly following: Following | undefined;
  readonly #open = new Set<SseConnection>();
  /** Closed, with a response that still has bytes to deliver. */
  readonly #leaving = new Set<SseConnection>();
  /** Turned away, with a response that is held open. They take no place among the others. */
  readonly #heldShed = new Set<SseConnection>();
  readonly #maxHeld: number;
  /** What has been warned of, most by its route. */
  readonly #warned = new Set<string>();
  readonly #repeated: RepeatedReport;
  #lastFrame = '';
  #lastChunk = NO_BYTES;
  /** Connections with something to write at the end of this turn. */
  readonly #writers: SseConnection[] = [];
  readonly #http2Sessions = new Map<ServerHttp2Session, SessionEnd>();
  readonly #sockets = new Set<Socket>();
  readonly #maxConnections: number;
  readonly #drainSettings: DrainSettings;
  /** Those that end once they have caught up with the log, with the time at which each may come back. */
  readonly #parting = new Map<SseConnection, number>();
  #isClosing = false;
  #drained: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;
  /** When the HTTP/2 sessions are looked at again. */
  #sweep: Deadline | undefined;

  constructor(options: {
    maxConnections: number;
    drain: DrainSettings;
    reporter: Reporter;
    /** Absent where nothing can be followed. */
    following?: Following;
  }) {
    this.following = options.following;
    this.#maxConnections = options.maxConnections;
    this.#maxHeld = Math.min(MAX_HELD, Math.ceil(options.maxConnections / 10));
    this.#drainSettings = options.drain;
    this.reporter = options.reporter;
    this.#repeated = new RepeatedReport(options.reporter);
  }

  get size(): number {
    return this.#open.size;
  }

  [Symbol.iterator](): Iterator<SseConnection> {
    return this.#open.values();
  }

  close(predicate: (connection: SseConnection) => boolean = () => true): number {
    // Asked of all before the first is closed: where the app's own predicate throws, none is.
    const chosen = Array.from(this.#open).filter((connection) => predicate(connection));
    this.#forEach(chosen, (connection) => connection.interrupt('server'));
    return chosen.length;
  }

  /** Why a further client is not let in; undefined where it is. */
  refusal(): Refusal | undefined {
    if (this.#isClosing) {
      const { leastRetryMs = 0, spreadMs } = this.#drainSettings;
      return { retryMs: leastRetryMs + Math.round(Math.random() * spreadMs), reason: 'shutdown' };
    }
    // Those on their way out hold a socket and memory as well.
    if (this.#open.size + this.#leaving.size >= this.#maxConnections) {
      return { retryMs: Math.round(SHED_RETRY_MS * (0.5 + Math.random())), reason: 'server' };
    }
    return undefined;
  }

  /** Takes a client in. Its headers are not out yet. */
  admit(init: Omit<ConnectionInit, 'host'>): SseConnection {
    const connection = new SseConnection({ ...init, host: this });
    if (!connection.isClosed) {
      this.#open.add(connection);
    }
    return connection;
  }

  /**
   * Turns a client away that would come back: it gets an event stream that says when, and ends after some
   * seconds, at once where the app is closing. A status of 503 would stop an EventSource for good.
   *
   * @param lastWords where an end without them would be success to the client
   */
  turnAway(
    init: Omit<ConnectionInit, 'host'>,
    { reason, retryMs }: Refusal,
    lastWords?: LastWords,
  ): SseConnection {
    const connection = new SseConnection({ ...init, host: this });
    if (lastWords) {
      connection.endWith(lastWords);
    }
    const canHold = !this.#isClosing && init.platform.method === 'GET' && this.#heldShed.size < this.#maxHeld;
    if (canHold) {
      this.#heldShed.add(connection);
    }
    connection.finish(reason, retryMs, canHold ? SHED_HOLD_MS : 0);
    const { socket, stream } = init.platform.raw;
    void connection.over.then(() => {
      if (this.#isClosing && !stream) {
        // Kept alive, its socket would hold up the server's close() for as long as it may idle.
        socket?.destroySoon();
      }
    });
    return connection;
  }

  onClosed(connection: SseConnection): void {
    if (this.#open.delete(connection)) {
      this.#leaving.add(connection);
    }
  }

  onCaughtUp(connection: SseConnection): void {
    const retryMs = this.#parting.get(connection);
    if (retryMs !== undefined) {
      this.#parting.delete(connection);
      connection.interrupt('shutdown', retryMs);
    }
  }

  onOver(connection: SseConnection): void {
    this.#parting.delete(connection);
    this.#leaving.delete(connection);
    this.#heldShed.delete(connection);
    if (this.#open.size + this.#leaving.size === 0) {
      this.#onEmpty?.();
    }
  }

  chunkOf(frame: string): Chunk {
    // Compared as text: an object that was sent twice may have been changed in between.
    if (frame !== this.#lastFrame) {
      this.#lastFrame = frame;
      this.#lastChunk = new Chunk(frame);
    }
    return this.#lastChunk;
  }

  joinTurn(connection: SseConnection): void {
    if (this.#writers.length === 0) {
      setImmediate(() => this.#endTurn());
    }
    this.#writers.push(connection);
  }

  /** In slices: between two of them the process serves others. */
  #endTurn(): void {
    this.#forEach(this.#writers.splice(0, WRITES_PER_TURN), (connection) => connection.endTurn());
    if (this.#writers.length > 0) {
      setImmediate(() => this.#endTurn());
      return;
    }
    // A frame of megabytes would stay for as long as nothing else is sent.
    this.#lastFrame = '';
    this.#lastChunk = NO_BYTES;
  }

  /** One client's failure is not another's. */
  #forEach(connections: Iterable<SseConnection>, act: (connection: SseConnection) => void): void {
    for (const connection of connections) {
      try {
        act(connection);
      } catch (error) {
        connection.onBroken(error);
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
    // By route, and not by what is said: that holds what a user has sent.
    this.#repeated.error(
      `content of ${route}`,
      `An event of ${route} could not be sent, and was left out: ${error.message}`,
      error,
    );
  }

  /**
   * Ends every connection: new clients are shed, each open one is told its own time to come back,
   * and what is left at `timeoutMs` is destroyed. Resolves when none is left, also for who calls it
   * a second time: an app may be closed by a signal and by itself.
   *
   * @param beforeEnding what still comes for the clients, after which no more may come
   */
  drain(beforeEnding: () => Promise<void>): Promise<void> {
    this.#drained ??= this.#drain(beforeEnding);
    return this.#drained;
  }

  async #drain(beforeEnding: () => Promise<void>): Promise<void> {
    const { delayMs } = this.#drainSettings;
    if (delayMs > 0) {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, delayMs);
      });
    }
    this.#isClosing = true;
    this.#forEach([...this.#heldShed], (connection) => connection.endHeld());
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    await beforeEnding();
    await this.#interruptAll();
    if (this.#open.size + this.#leaving.size > 0) {
      const { timeoutMs } = this.#drainSettings;
      const timers = [
        setTimeout(() => this.#destroyAll(), timeoutMs),
        // Whatever stands around a response, the app closes.
        setTimeout(() => this.#forgetAll(), Math.min(timeoutMs + UNANSWERED_MS, MAX_TIMER_MS)),
      ];
      await emptied;
      timers.forEach(clearTimeout);
    }
    this.#closeSessions();
    this.#sockets.forEach(destroyIfUnused);
  }

  /**
   * Ends, at the end, what a server's own close() would wait for and nobody else ends: HTTP/2
   * sessions, of which a browser keeps one for hours, and connections that have sent nothing, of
   * which it opens spare ones.
   */
  watchServer(server: EventEmitter): void {
    let opened: SessionEnd | undefined;
    // Emitted by the server's own listener to its sockets, which is called before those below.
    server.on('session', (session: ServerHttp2Session) => {
      opened = { socket: undefined, isEnding: false };
      this.#http2Sessions.set(session, opened);
      session.once('close', () => this.#forgetSession(session));
      if (this.#isClosing) {
        // What it came for is still answered.
        session.once('stream', (stream: EventEmitter) => stream.once('close', () => session.close()));
        this.#sweepLater();
      }
    });
    // One for all sockets, which are many.
    const sockets = this.#sockets;
    const forget = function (this: Socket): void {
      sockets.delete(this);
    };
    const watchSocket = (socket: Socket): void => {
      if (opened) {
        opened.socket = socket;
        opened = undefined;
      }
      sockets.add(socket);
      socket.on('close', forget);
      if (this.#isClosing) {
        this.wheel.schedule(SPARE_SOCKET_MS, () => destroyIfUnused(socket));
      }
    };
    server.on('connection', watchSocket);
    // Of TLS, each client has two: this one has read nothing as long as no request came.
    server.on('secureConnection', watchSocket);
  }

  /** Sends each session GOAWAY (RFC 9113, section 6.8), and looks again until all of them are gone. */
  #closeSessions(): void {
    this.#sweep = undefined;
    for (const [session, end] of this.#http2Sessions) {
      if (end.isEnding) {
        // It has no stream any more, and waits for a client that is frozen to close its own half of the socket.
        end.socket?.destroy();
      }
      session.close();
      end.isEnding = session.destroyed;
    }
    this.#sweepLater();
  }

  #sweepLater(): void {
    if (this.#http2Sessions.size > 0) {
      this.#sweep ??= this.wheel.schedule(SPARE_SOCKET_MS, () => this.#closeSessions());
    }
  }

  #forgetSession(session: ServerHttp2Session): void {
    this.#http2Sessions.delete(session);
    if (this.#http2Sessions.size === 0) {
      this.wheel.cancel(this.#sweep);
      this.#sweep = undefined;
    }
  }

  async #interruptAll(): Promise<void> {
    const { leastRetryMs = 0, spreadMs } = this.#drainSettings;
    const connections = [...this.#open];
    for (const [index, connection] of connections.entries()) {
      // Evenly over the time, so that no two waves of clients arrive together.
      const retryMs = leastRetryMs + Math.floor((spreadMs * (index + Math.random())) / connections.length);
      if (connection.isBehind) {
        // What was accepted before the end is still on its way to it.
        this.#parting.set(connection, retryMs);
      } else {
        this.#forEach([connection], () => connection.interrupt('shutdown', retryMs));
      }
      if (index % CLOSED_PER_TURN === CLOSED_PER_TURN - 1) {
        await new Promise<void>((resolve) => {
          setImmediate(resolve);
        });
      }
    }
  }

  #destroyAll(): void {
    this.#forEach([...this.#open, ...this.#leaving], (connection) => connection.destroy('shutdown'));
  }

  #forgetAll(): void {
    this.#forEach([...this.#open, ...this.#leaving], (connection) => connection.concludeUnanswered());
    this.#open.clear();
    this.#leaving.clear();
    this.#onEmpty?.();
  }
}

function destroyIfUnused(socket: Socket): void {
  if (socket.bytesRead === 0) {
    socket.destroy();
  }
}
