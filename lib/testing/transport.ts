import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { SseTestError } from './sse-test.error.js';

/** Sends a request. `giveUp` ends the attempt before the headers arrive. Rejects with the error of Node. */
export async function send<T>(
  request: TransportRequest,
  overHttp2: boolean,
  giveUp: AbortSignal,
  receive: Receive<T>,
): Promise<T> {
  return overHttp2 ? sendOverHttp2(request, giveUp, receive) : sendOverHttp1(request, giveUp, receive);
}

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

/** A response whose headers have arrived, alike for HTTP/1.1 and HTTP/2. */
export interface TransportAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Nothing of it has been read. Its errors are handled here. */
  readonly body: Readable;
  /** Whether the end of the protocol has come; false after a cut. Called when the body is closed. */
  isComplete(): boolean;
  /** The error of Node, if the response was cut. */
  failure(): Error | undefined;
  /** Throws if {@link leave} could not reset the connection. */
  checkReset(): void;
  /** Ends the exchange, finished or not. Resolves when the connection that was opened for it is gone. */
  leave(reset: boolean): Promise<void>;
}

/** Receives a response in the turn in which it arrives, so that its listeners are there before its body. */
export type Receive<T> = (answer: TransportAnswer) => T;

function sendOverHttp1<T>(request: TransportRequest, giveUp: AbortSignal, receive: Receive<T>): Promise<T> {
  const secure = request.url.protocol === 'https:';
  const ownAgent =
    request.agent === undefined ? keepAliveAgent(secure, request.allowUnauthorized) : undefined;
  const outgoing = refusedAsArgument(() =>
    (secure ? https : http).request(request.url, {
      method: request.method,
      headers: request.headers,
      agent: ownAgent ?? request.agent,
      rejectUnauthorized: !request.allowUnauthorized,
    }),
  );
  return new Promise((resolve, reject) => {
    const stopTrying = () => outgoing.destroy();
    giveUp.addEventListener('abort', stopTrying, { once: true });
    let failure: Error | undefined;
    // Stays after the headers: the request gets the error of a malformed chunk, and without a listener it would end the
    // process.
    outgoing.on('error', (error) => {
      failure ??= error;
      ownAgent?.destroy();
      reject(error);
    });
    outgoing.on('close', () => giveUp.removeEventListener('abort', stopTrying));
    outgoing.on('response', (incoming) => {
      giveUp.removeEventListener('abort', stopTrying);
      incoming.on('error', (error) => (failure ??= error));
      const { socket } = incoming;
      resolve(
        receive({
          status: incoming.statusCode!,
          headers: incoming.headers,
          body: incoming,
          isComplete: () => incoming.complete,
          failure: () => failure,
          checkReset: () => {
            if ('encrypted' in socket) {
              throw resetRefused();
            }
          },
          leave: async (reset) => {
            // After a complete response, the connection belongs to the agent again, and perhaps to its next request.
            if (ownAgent !== undefined || !incoming.complete) {
              await destroySocket(socket, reset);
            }
            ownAgent?.destroy();
          },
        }),
      );
    });
    outgoing.end(request.body);
  });
}

/**
 * Makes a keep-alive agent, as in a browser. With the one-off agent of Node each request says `Connection: close`,
 * which would hide a server that leaves idle connections open at shutdown.
 */
function keepAliveAgent(secure: boolean, allowUnauthorized: boolean): http.Agent {
  return secure
    ? new https.Agent({ keepAlive: true, rejectUnauthorized: !allowUnauthorized })
    : new http.Agent({ keepAlive: true });
}

function sendOverHttp2<T>(request: TransportRequest, giveUp: AbortSignal, receive: Receive<T>): Promise<T> {
  const own = request.session === undefined ? connect(request) : undefined;
  const session = request.session ?? own!.session;
  let stream: http2.ClientHttp2Stream;
  try {
    stream = refusedAsArgument(() =>
      session.request(
        { ...request.headers, ':method': request.method, ':path': request.url.pathname + request.url.search },
        { endStream: request.body === undefined },
      ),
    );
  } catch (error) {
    own?.session.destroy();
    throw error;
  }
  const hasEndFlag = watchEndFlag(stream);
  return new Promise((resolve, reject) => {
    const stopTrying = () => {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      own?.session.destroy();
    };
    giveUp.addEventListener('abort', stopTrying, { once: true });
    let failure: Error | undefined;
    const failed = (error: Error) => {
      failure ??= error;
      own?.session.destroy();
      reject(error);
    };
    own?.session.on('error', failed);
    stream.on('error', failed);
    stream.on('close', () => {
      giveUp.removeEventListener('abort', stopTrying);
      // Has no effect after a response.
      reject(new Error(`the stream was closed with code ${stream.rstCode}`));
    });
    stream.on('response', (headers) => {
      giveUp.removeEventListener('abort', stopTrying);
      resolve(
        receive({
          status: headers[':status']!,
          headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':'))),
          body: stream,
          isComplete: () => hasEndFlag() && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR,
          failure: () => failure,
          checkReset: () => {
            if (own === undefined || request.url.protocol === 'https:') {
              throw resetRefused();
            }
          },
          leave: async (reset) => {
            if (reset) {
              own?.session.socket.resetAndDestroy();
            }
            if (!stream.closed) {
              stream.close(http2.constants.NGHTTP2_CANCEL);
            }
            stream.destroy();
            // Not close(): it ends the connection in order, and waits for a server that may be frozen.
            own?.session.destroy();
            await own?.gone;
          },
        }),
      );
    });
    if (request.body !== undefined) {
      stream.end(request.body);
    }
  });
}

function connect({ url, allowUnauthorized }: TransportRequest): {
  session: http2.ClientHttp2Session;
  gone: Promise<void>;
} {
  const session = http2.connect(url.origin, { rejectUnauthorized: !allowUnauthorized });
  return { session, gone: new Promise((resolve) => session.once('close', resolve)) };
}

/**
 * Watches for END_STREAM. When a server aborts a stream with RST_STREAM and NO_ERROR, as its `stream.destroy()` does,
 * Node ends the stream as if it were complete: event `end`, code 0. But then it closes the stream before it pushes the
 * end.
 */
function watchEndFlag(stream: http2.ClientHttp2Stream): () => boolean {
  let hasEnded = false;
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && !stream.closed) {
      hasEnded = true;
    }
    return push(chunk, encoding);
  };
  return () => hasEnded;
}

/** Runs a call of Node, which throws if a header, a method or a path cannot be sent. */
function refusedAsArgument<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new SseTestError('argument-invalid', `Node refused to send the request: ${String(cause)}`, {
      cause,
    });
  }
}

function resetRefused(): SseTestError {
  return new SseTestError(
    'argument-invalid',
    'close({ reset: true }) needs a plain TCP connection of the stream itself: no TLS, no http2Session.',
  );
}

function destroySocket(socket: Socket, reset: boolean): Promise<void> {
  if (socket.closed) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    if (reset) {
      socket.resetAndDestroy();
    } else {
      socket.destroy();
    }
  });
}
