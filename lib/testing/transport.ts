import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { SseTestError } from './sse-test.error.js';

export interface TransportRequest {
  readonly url: URL;
  readonly method: string;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  readonly body: Uint8Array | undefined;
  readonly agent: http.Agent | undefined;
  readonly session: http2.ClientHttp2Session | undefined;
  readonly allowUnauthorized: boolean;
}

/** An answer whose headers have arrived, alike for HTTP/1.1 and HTTP/2. */
export interface TransportAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Nothing of it has been read, and nobody listens to it yet. */
  readonly body: Readable;
  /** Whether the protocol's own end has come; false after a cut. Asked when the body is over. */
  isComplete(): boolean;
  /** Ends the exchange, finished or not, and resolves when the connection that was opened for it is gone. */
  leave(reset: boolean): Promise<void>;
}

/** Sends the request; `giveUp` ends the attempt as long as no headers have come. Rejects with what Node said. */
export function send(
  request: TransportRequest,
  overHttp2: boolean,
  giveUp: AbortSignal,
): Promise<TransportAnswer> {
  return overHttp2 ? sendOverHttp2(request, giveUp) : sendOverHttp1(request, giveUp);
}

function sendOverHttp1(request: TransportRequest, giveUp: AbortSignal): Promise<TransportAnswer> {
  const secure = request.url.protocol === 'https:';
  // Keep-alive as in a browser: with Node's one-off agent each request says `Connection: close`, and a server that
  // leaves connections hanging at shutdown would look well here.
  const ownAgent =
    request.agent === undefined
      ? secure
        ? new https.Agent({ keepAlive: true, rejectUnauthorized: !request.allowUnauthorized })
        : new http.Agent({ keepAlive: true })
      : undefined;
  return new Promise((resolve, reject) => {
    const outgoing = (secure ? https : http).request(request.url, {
      method: request.method,
      headers: request.headers,
      agent: ownAgent ?? request.agent,
    });
    const stopTrying = () => outgoing.destroy(new Error('given up'));
    giveUp.addEventListener('abort', stopTrying, { once: true });
    // Stays for good: what fails after the headers is seen on the body, and must not be an 'error' that nobody hears.
    outgoing.on('error', (error) => {
      giveUp.removeEventListener('abort', stopTrying);
      ownAgent?.destroy();
      reject(error);
    });
    outgoing.on('response', (incoming) => {
      giveUp.removeEventListener('abort', stopTrying);
      const { socket } = incoming;
      resolve({
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        body: incoming,
        isComplete: () => incoming.complete,
        leave: async (reset) => {
          const socketIsOurs = ownAgent !== undefined || !incoming.complete;
          if (socketIsOurs) await destroySocket(socket, reset);
          ownAgent?.destroy();
        },
      });
    });
    outgoing.end(request.body);
  });
}

function sendOverHttp2(request: TransportRequest, giveUp: AbortSignal): Promise<TransportAnswer> {
  return new Promise((resolve, reject) => {
    const ownSession =
      request.session === undefined
        ? http2.connect(request.url.origin, { rejectUnauthorized: !request.allowUnauthorized })
        : undefined;
    const session = request.session ?? ownSession!;
    const { pathname, search } = request.url;
    // Stays for good, like that of the stream: the streams of a failing session report it, or end with it.
    ownSession?.on('error', reject);
    const stream = session.request(
      { ...request.headers, ':method': request.method, ':path': pathname + search },
      { endStream: request.body === undefined },
    );
    const stopTrying = () => {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      reject(new Error('given up'));
      ownSession?.destroy();
    };
    giveUp.addEventListener('abort', stopTrying, { once: true });
    stream.on('error', (error) => {
      giveUp.removeEventListener('abort', stopTrying);
      reject(error);
      ownSession?.destroy();
    });
    let ended = false;
    stream.on('end', () => (ended = true));
    stream.on('close', () =>
      reject(new Error(`the stream closed without an answer, code ${stream.rstCode}`)),
    );
    stream.on('response', (headers) => {
      giveUp.removeEventListener('abort', stopTrying);
      resolve({
        status: headers[':status'] ?? 0,
        headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':'))),
        body: stream,
        isComplete: () => ended && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR,
        leave: async (reset) => {
          if (reset && ownSession !== undefined) throw resetRefused();
          if (!stream.closed) stream.close(http2.constants.NGHTTP2_CANCEL);
          stream.destroy();
          if (ownSession === undefined) return;
          if (!ownSession.closed) ownSession.close();
          if (!ownSession.destroyed) await new Promise<void>((gone) => ownSession.once('close', gone));
        },
      });
    });
    if (request.body !== undefined) stream.end(request.body);
  });
}

function resetRefused(): SseTestError {
  return new SseTestError('argument-invalid', 'close({ reset: true }) works on plain HTTP/1.1 only.');
}

function destroySocket(socket: Socket, reset: boolean): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((gone) => {
    socket.once('close', () => gone());
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  });
}
