import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { waitFor } from 'nestjs-event-stream/testing';

/** Many streams on one HTTP/2 connection, as from a browser or a proxy. */
const STREAMS_PER_SESSION = 50;
/** Below the backlog of a listening socket. */
const CONNECTS_AT_ONCE = 100;
/** On a machine that is busy with other things. */
const DEADLINE_MS = 60_000;

/** One of a crowd. */
export class Member {
  /** All that has come: on HTTP/1.1 with the head and the chunks' frames. */
  received = '';
  /** Whether the protocol's own end of the answer has come. */
  isComplete = false;
  isClosed = false;

  /** Every `retry` that has come, in milliseconds. */
  get retries(): number[] {
    return Array.from(this.received.matchAll(/^retry: (\d+)$/gm), ([, ms]) => Number(ms));
  }

  /** The data of every event, where each is one line. */
  get data(): string[] {
    return Array.from(this.received.matchAll(/^data: (.*)$/gm), ([, data]) => data!);
  }
}

/** Many clients of a stream, on bare sockets and sessions: cheaper than as many `openSse()`. */
export class Crowd {
  readonly members: Member[] = [];
  readonly #sockets: Socket[] = [];
  readonly #sessions: http2.ClientHttp2Session[] = [];

  /** Opens a stream for each path, and resolves when all have had their first bytes. */
  static async open(base: string, isHttp2: boolean, paths: string[], method = 'GET'): Promise<Crowd> {
    const crowd = new Crowd();
    const step = isHttp2 ? STREAMS_PER_SESSION : CONNECTS_AT_ONCE;
    for (let first = 0; first < paths.length; first += step) {
      const part = paths.slice(first, first + step);
      if (isHttp2) {
        await crowd.#openOnSession(base, part, method);
      } else {
        part.forEach((path) => crowd.#openOnSocket(base, path, method));
      }
      await crowd.until((member) => member.received !== '');
    }
    return crowd;
  }

  /** Waits until a condition holds for every member. */
  async until(condition: (member: Member) => boolean): Promise<void> {
    const left = () => this.members.filter((member) => !condition(member));
    await waitFor(() => left().length === 0, {
      timeoutMs: DEADLINE_MS,
      describe: () => `${condition.toString()}: ${left().length} of ${this.members.length} to go`,
    });
  }

  /** All leave in this turn, by a reset where that is wanted. */
  leave({ reset = false } = {}): void {
    for (const socket of this.#sockets) {
      if (reset) {
        socket.resetAndDestroy();
      } else {
        socket.destroy();
      }
    }
    for (const session of this.#sessions) {
      session.destroy();
    }
  }

  #openOnSocket(base: string, path: string, method: string): void {
    const { hostname, port } = new URL(base);
    const member = this.#join();
    const socket = connect(Number(port), hostname);
    this.#sockets.push(socket);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      member.received += text;
      member.isComplete = member.received.endsWith('\r\n0\r\n\r\n');
    });
    // A reset by the server is one of the ends that tests look at.
    socket.on('error', () => (member.isClosed = true));
    socket.on('close', () => (member.isClosed = true));
    const length = method === 'GET' ? '' : 'Content-Length: 0\r\n';
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: ${hostname}\r\n${length}\r\n`);
  }

  async #openOnSession(base: string, paths: string[], method: string): Promise<void> {
    const session = http2.connect(base);
    this.#sessions.push(session);
    session.on('error', () => session.destroy());
    await once(session, 'connect');
    for (const path of paths) {
      const member = this.#join();
      const stream = session.request({ ':path': path, ':method': method }, { endStream: true });
      let hasEnded = false;
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => (member.received += text));
      stream.on('end', () => (hasEnded = true));
      stream.on('error', () => (member.isClosed = true));
      stream.on('close', () => {
        member.isClosed = true;
        member.isComplete = hasEnded && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR;
      });
    }
  }

  #join(): Member {
    const member = new Member();
    this.members.push(member);
    return member;
  }
}
