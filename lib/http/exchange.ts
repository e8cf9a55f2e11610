import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, Http2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { show, SseError } from '../errors/index.js';
import { onEnding } from './ending.js';

type NodeRequest = IncomingMessage | Http2ServerRequest;
type NodeResponse = ServerResponse | Http2ServerResponse;

/** A request or its response, of Node's `http` or `http2`, of Express, or of Fastify, which keeps Node's under `raw`. */
export type RequestOrResponse = NodeRequest | NodeResponse | { readonly raw: NodeRequest | NodeResponse };

/** A request and its response, by whichever of the two was at hand. */
export interface Exchange {
  /** Whether the client has left, or the response has been ended. */
  isOver(): boolean;
  /** Calls back once it is over, at once where it is already. Returns what to call so as to wait no longer. */
  onOver(callback: () => void): () => void;
}

/** @throws {@link SseError} `misuse` for what is neither a request nor a response. */
export function exchangeOf(given: unknown): Exchange {
  const node = hasField(given, 'raw') && !isEmitter(given) ? given.raw : given;
  if (isEmitter(node)) {
    if (hasField(node, 'stream') && isHttp2Stream(node.stream)) return new Http2Exchange(node.stream);
    if (isResponse(node)) return new Http1Exchange(node.req, node);
    if (isRequest(node)) return new Http1Exchange(node);
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

  isOver(): boolean {
    return this.#stream.closed || this.#stream.writableEnded;
  }

  onOver(callback: () => void): () => void {
    if (!this.isOver()) return onEnding(this.#stream, callback);
    callback();
    return () => {};
  }
}

/**
 * Over HTTP/1 it is the response that tells when an exchange is over. The request does not: it closes when its body has
 * been read, for a POST before the handler runs. The socket alone does not either: kept alive, it outlives the exchange.
 */
class Http1Exchange implements Exchange {
  readonly #request: IncomingMessage | undefined;
  #response: ServerResponse | undefined;

  constructor(request: IncomingMessage | undefined, response?: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  isOver(): boolean {
    // Before the response's own word: a socket is `destroyed` at once, and tells its response in a later turn.
    if (this.#socket?.destroyed === true) return true;
    const response = this.#findResponse();
    if (response !== undefined) return response.destroyed || response.writableEnded;
    return this.#current === null;
  }

  onOver(callback: () => void): () => void {
    let waits: Array<() => void> = [];
    const stop = () => {
      for (const stopWaiting of waits) stopWaiting();
      waits = [];
    };
    const over = () => {
      stop();
      callback();
    };
    const look = () => {
      stop();
      if (this.isOver()) callback();
      else waits = this.#wait(over, look);
    };
    look();
    return stop;
  }

  #wait(over: () => void, look: () => void): Array<() => void> {
    const socket = this.#socket;
    const response = this.#findResponse();
    const waits: Array<() => void> = [];
    if (response !== undefined) waits.push(onEnding(response, over));
    // Another has its turn, before this one or after it: once that has ended, there is something to find, or nothing.
    else if (this.#current) waits.push(onEnding(this.#current, look));
    // Node tells only the response whose turn it is that the socket has closed.
    if (socket !== undefined && !response?.socket) waits.push(onEnding(socket, over));
    return waits;
  }

  get #socket(): Socket | undefined {
    const socket = this.#request?.socket;
    // What imitates a request, for a test or in a serverless function, has a socket of its own kind, or none.
    return isEmitter(socket) ? socket : undefined;
  }

  /**
   * The response whose turn it is on the socket; null between two, and so once the last has ended; undefined where there
   * never was one. Node has no public way from a request to its response. `_httpMessage` is as old as Node's `http`, and
   * other packages go by it, too.
   */
  get #current(): ServerResponse | null | undefined {
    return (this.#socket as { _httpMessage?: ServerResponse | null } | undefined)?._httpMessage;
  }

  #findResponse(): ServerResponse | undefined {
    this.#response ??= expressResponse(this.#request);
    if (this.#response === undefined && this.#current?.req === this.#request)
      this.#response = this.#current ?? undefined;
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

// By shape and never by `instanceof`: Express, Fastify's inject() and others put classes of their own in place of Node's.
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
