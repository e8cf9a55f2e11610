import type { EventEmitter } from 'node:events';
import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Deadline, DeadlineWheel } from '../time/index.js';

/** An HTTP/2 session that is open. */
interface OpenSession {
  /** The session does not close its socket itself. */
  socket: Socket | undefined;
  /** Whether it had no stream left at the last check. */
  isEnding: boolean;
}

// How long a new socket may take to send its request once the app is closing, and an HTTP/2 client to hang up.
const GRACE_MS = 500;

/**
 * The sockets and HTTP/2 sessions of the app's servers, which would hold up a server's `close()`: an HTTP/2 session, of
 * which a browser keeps one for hours, and a spare socket that a browser has opened and sent nothing on.
 */
export class ServerSockets {
  readonly #wheel: DeadlineWheel;
  readonly #sessions = new Map<ServerHttp2Session, OpenSession>();
  readonly #sockets = new Set<Socket>();
  #isClosing = false;
  /** The next check of the sessions. */
  #nextCheck: Deadline | undefined;

  constructor(wheel: DeadlineWheel) {
    this.#wheel = wheel;
  }

  /** Keeps track of a server's sockets and sessions. */
  watch(server: EventEmitter): void {
    let opened: OpenSession | undefined;
    // Emitted by the server's own listener to its sockets, which is called before those below.
    server.on('session', (session: ServerHttp2Session) => {
      opened = { socket: undefined, isEnding: false };
      this.#addSession(session, opened);
    });
    // One function for all sockets: they are many.
    const sockets = this.#sockets;
    const forget = function (this: Socket): void {
      sockets.delete(this);
    };
    const addSocket = (socket: Socket): void => {
      if (opened) {
        opened.socket = socket;
        opened = undefined;
      }
      sockets.add(socket);
      socket.on('close', forget);
      if (this.#isClosing) {
        this.#wheel.schedule(GRACE_MS, () => destroyIfUnused(socket));
      }
    };
    server.on('connection', addSocket);
    // A TLS client has two sockets. This one has read nothing until its first request.
    server.on('secureConnection', addSocket);
  }

  /** From here on, new sockets and sessions are closed as soon as their first request is answered. */
  beginClosing(): void {
    this.#isClosing = true;
  }

  /** Closes all sessions and unused sockets. */
  close(): void {
    this.#closeSessions();
    this.#sockets.forEach(destroyIfUnused);
  }

  #addSession(session: ServerHttp2Session, opened: OpenSession): void {
    this.#sessions.set(session, opened);
    session.once('close', () => this.#removeSession(session));
    if (this.#isClosing) {
      // Its first request is still answered.
      session.once('stream', (stream: EventEmitter) => stream.once('close', () => session.close()));
      this.#checkLater();
    }
  }

  #removeSession(session: ServerHttp2Session): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) {
      this.#wheel.cancel(this.#nextCheck);
      this.#nextCheck = undefined;
    }
  }

  /** Sends each session GOAWAY (RFC 9113, section 6.8), and checks again until all of them have closed. */
  #closeSessions(): void {
    this.#nextCheck = undefined;
    for (const [session, opened] of this.#sessions) {
      if (opened.isEnding) {
        // It has no stream left, and waits for a frozen client to close its half of the socket.
        opened.socket?.destroy();
      }
      session.close();
      opened.isEnding = session.destroyed;
    }
    this.#checkLater();
  }

  #checkLater(): void {
    if (this.#sessions.size > 0) {
      this.#nextCheck ??= this.#wheel.schedule(GRACE_MS, () => this.#closeSessions());
    }
  }
}

function destroyIfUnused(socket: Socket): void {
  if (socket.bytesRead === 0) {
    socket.destroy();
  }
}
