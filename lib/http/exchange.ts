import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, Http2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { show, SseError } from '../errors/index.js';
import { whenEnded } from './ending.js';

type NodeRequest = IncomingMessage | Http2ServerRequest;
type NodeResponse = ServerResponse | Http2ServerResponse;

/** A request or a response of Express, of Fastify, or of Node's `http` or `http2`. Fastify keeps Node's under `raw`. */
export type RequestOrResponse = NodeRequest | NodeResponse | { readonly raw: NodeRequest | NodeResponse };

/** A request and its response. */
export interface Exchange {
  /** Whether the client has left, or the response has been ended. */
  hasEnded(): boolean;
  /**
   * Calls back once it has ended, at once if it has already.
   *
   * @returns a function that removes the callback
   */
  whenEnded(callback: () => void): () => void;
}

/**
 * Finds the exchange of a request or a response.
 *
 * @throws {@link SseError} `misuse` for any other value
 */
export function exchangeOf(given: unknown): Exchange {
  const node = hasField(given, 'raw') && !isEmitter(given) ? given.raw : given;
  if (isEmitter(node)) {
    if (hasField(node, 'stream') && isHttp2Stream(node.stream)) {
      return new Http2Exchange(node.stream);
    }
    if (isResponse(node)) {
      return new Http1Exchange(node.req, node);
    }
    if (isRequest(node)) {
      return new Http1Exchange(node);
    }
  }
  throw new SseError(
    'misuse',
    `closeOn() takes a request or a response, of Express, Fastify or Node; got ${show(given)}. ` +
      'In a handler, inject one of them with @Req() or @Res().',
  );
}

class Http2Exchange implements Exchange {
  readonly #stream: Http2Stream;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  hasEnded(): boolean {
    return this.#stream.closed || this.#stream.writableEnded;
  }

  whenEnded(callback: () => void): () => void {
    if (!this.hasEnded()) {
      return whenEnded(this.#stream, callback);
    }
    callback();
    return () => {};
  }
}

/**
 * An HTTP/1 exchange ends with its response. A request closes when its body has been read: for a POST that is before
 * the handler runs. A socket that is kept alive outlives the exchange.
 */
class Http1Exchange implements Exchange {
  readonly #request: IncomingMessage | undefined;
  #response: ServerResponse | undefined;

  constructor(request: IncomingMessage | undefined, response?: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  hasEnded(): boolean {
    // The socket first: it is `destroyed` at once, and its response hears of that in a later turn.
    if (this.#socket?.destroyed === true) {
      return true;
    }
    const response = this.#findResponse();
    if (response !== undefined) {
      return response.destroyed || response.writableEnded;
    }
    return this.#current === null;
  }

  whenEnded(callback: () => void): () => void {
    let removals: Array<() => void> = [];
    const stop = () => {
      for (const remove of removals) {
        remove();
      }
      removals = [];
    };
    const end = () => {
      stop();
      callback();
    };
    const check = () => {
      stop();
      if (this.hasEnded()) {
        callback();
      } else {
        removals = this.#listen(end, check);
      }
    };
    check();
    return stop;
  }

  #listen(end: () => void, check: () => void): Array<() => void> {
    const socket = this.#socket;
    const response = this.#findResponse();
    const removals: Array<() => void> = [];
    if (response !== undefined) {
      removals.push(whenEnded(response, end));
    } else if (this.#current) {
      // Another response has its turn, before this one or after it. Check again when that has ended.
      removals.push(whenEnded(this.#current, check));
    }
    // Node tells the end of a socket only to the response whose turn it is.
    if (socket !== undefined && !response?.socket) {
      removals.push(whenEnded(socket, end));
    }
    return removals;
  }

  get #socket(): Socket | undefined {
    const socket = this.#request?.socket;
    // An imitated request, as in a test or a serverless function, has a socket of its own kind, or none.
    return isEmitter(socket) ? socket : undefined;
  }

  /**
   * The response whose turn it is on the socket. Null between two responses and after the last one, undefined if there
   * never was one. Node has no public way from a request to its response. `_httpMessage` is as old as Node's `http`,
   * and other packages rely on it, too.
   */
  get #current(): ServerResponse | null | undefined {
    return (this.#socket as { _httpMessage?: ServerResponse | null } | undefined)?._httpMessage;
  }

  #findResponse(): ServerResponse | undefined {
    this.#response ??= expressResponse(this.#request);
    if (this.#response === undefined && this.#current?.req === this.#request) {
      this.#response = this.#current ?? undefined;
    }
    return this.#response;
  }
}

function expressResponse(request: unknown): ServerResponse | undefined {
  return hasField(request, 'res') && isEmitter(request.res) && isResponse(request.res)
    ? request.res
    : undefined;
}

function hasField<Field extends string>(value: unknown, field: Field): value is Record<Field, unknown> {
  return typeof value === 'object' && value !== null && field in value;
}

// By shape, not by `instanceof`: Express, Fastify's inject() and others use classes of their own in place of Node's.
function isEmitter<T>(value: T): value is T & EventEmitter {
  return (
    hasField(value, 'on') &&
    hasField(value, 'off') &&
    typeof value.on === 'function' &&
    typeof value.off === 'function'
  );
}

function isHttp2Stream(value: unknown): value is Http2Stream {
  return isEmitter(value) && hasField(value, 'session') && hasField(value, 'closed');
}

function isResponse(value: EventEmitter): value is ServerResponse {
  return hasField(value, 'writeHead') && hasField(value, 'writableEnded');
}

function isRequest(value: EventEmitter): value is IncomingMessage {
  return hasField(value, 'headers') && hasField(value, 'httpVersion') && hasField(value, 'socket');
}
