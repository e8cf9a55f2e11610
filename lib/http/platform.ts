import { EventEmitter } from 'node:events';
import { ServerResponse } from 'node:http';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, OutgoingHttpHeader } from 'node:http';
import { Socket } from 'node:net';
import { show, SseError } from '../errors/index.js';
import { coverReply, uncoverReply } from './covers.js';

/** What is used of a request of `node:http` or of `node:http2`'s compatibility API. */
export interface RawRequest extends EventEmitter {
  readonly method?: string;
  readonly url?: string;
  readonly httpVersion?: string;
  readonly headers: IncomingHttpHeaders;
  readonly socket?: Socket | null;
}

/** What is used of a response of `node:http` or of `node:http2`'s compatibility API. */
export interface RawResponse extends EventEmitter {
  /** Absent from what imitates a response, for a test. */
  readonly req?: RawRequest;
  /** Absent before a pipelined response has its turn, and after the end. */
  readonly socket: Socket | null;
  /** The HTTP/2 stream; HTTP/1.1 has none. */
  readonly stream?: RawHttp2Stream;
  readonly headersSent: boolean;
  /** The head as text, of `node:http` alone, where it has been written. */
  readonly _header?: string | boolean | null;
  readonly writableEnded: boolean;
  readonly writableFinished?: boolean;
  readonly writableLength: number;
  /** Of `node:http` alone. */
  readonly writableNeedDrain?: boolean;
  readonly destroyed?: boolean;
  /** False where the client, or HTTP/1.0, wants the connection closed after the answer. */
  readonly shouldKeepAlive?: boolean;
  statusCode: number;
  getHeader(name: string): OutgoingHttpHeader | undefined;
  setHeader(name: string, value: OutgoingHttpHeader): unknown;
  removeHeader(name: string): void;
  writeHead(statusCode: number, headers: OutgoingHttpHeaders): unknown;
  write(chunk: Buffer): boolean;
  end(...args: unknown[]): unknown;
  destroy(error?: Error): unknown;
}

/** What is used of an HTTP/2 stream. */
export interface RawHttp2Stream {
  readonly destroyed: boolean;
  readonly rstCode?: number;
  readonly writableFinished: boolean;
  readonly writableNeedDrain: boolean;
  close(code?: number): void;
}

/**
 * One request and its response in one shape, whichever framework they came through.
 * The only place that knows of Fastify's `.raw`.
 */
export interface Platform {
  /** The framework's request, as the app's handlers see it. */
  readonly request: unknown;
  readonly rawRequest: RawRequest;
  readonly raw: RawResponse;
  readonly method: string;
  /** The route's pattern where the framework tells it, for log lines. */
  readonly route: string;
  /** Headers that the framework keeps aside until it replies; empty where it has none. */
  headersKept(): OutgoingHttpHeaders;
  /** Adds to these headers what a plugin of the framework would add in a hook that does not run for a stream. */
  collectHeaders(): void;
  setHeader(name: string, value: string): void;
  status(): number;
  /** Tells the framework that we answer. After it the framework's reply cannot be used. */
  takeOver(): void;
  /** Notices answers that other code gives by the framework, where they do not come through Node's response. */
  cover(): void;
  uncover(): void;
}

interface FastifyReplyLike {
  readonly raw: RawResponse;
  readonly request: { readonly raw: RawRequest; readonly routeOptions?: { readonly url?: string } };
  readonly statusCode: number;
  getHeaders(): OutgoingHttpHeaders;
  header(name: string, value: string): unknown;
  hijack(): unknown;
}

interface ExpressRequestLike extends RawRequest {
  readonly baseUrl?: string;
  readonly route?: { readonly path?: unknown };
}

/**
 * @param res Express's response, Fastify's reply, or the raw one of either
 * @throws SseError `response-invalid` for anything else
 */
export function toPlatform(res: unknown): Platform {
  if (isFastifyReply(res)) {
    return new FastifyPlatform(res);
  }
  if (isRawResponse(res)) {
    return new RawPlatform(res);
  }
  throw new SseError(
    'response-invalid',
    `Expected the response of a request, got ${show(res)}. Inject it with @Res() and hand it over as it is.`,
  );
}

/** Whether {@link toPlatform} takes it. */
export function isResponse(res: unknown): boolean {
  return isFastifyReply(res) || isRawResponse(res);
}

/** True once nothing that is written can reach the client. */
export function isGone(raw: RawResponse): boolean {
  const carrier = raw.stream ?? raw.socket ?? waitsForSocket(raw);
  return raw.destroyed === true || carrier?.destroyed === true;
}

/** The socket of a response that is pipelined behind another and has not had its turn. */
export function waitsForSocket(raw: RawResponse): Socket | undefined {
  const isWaiting = !raw.stream && !raw.socket && !raw.writableEnded;
  return (isWaiting && raw.req?.socket) || undefined;
}

/** Whether Node's own response, under all that wraps it, takes no more and will say 'drain'. */
export function needsDrain({ stream, writableNeedDrain }: RawResponse): boolean {
  return (stream ? stream.writableNeedDrain : writableNeedDrain) === true;
}

/** Keeps a server's idle timeout from ending a quiet stream; Node restores it for the socket's next request. */
export function spareFromIdleTimeout({ stream, socket }: RawResponse): void {
  // Fastify's inject() has something in a socket's place that knows of no timeouts.
  if (!stream && socket instanceof Socket) {
    socket.setTimeout(0);
  }
}

/** The content type with which the headers went out, as far as it can be told. */
export function sentContentType(raw: RawResponse): string | undefined {
  const type = raw.getHeader('Content-Type');
  // What is handed to writeHead() on a response that had no header shows here alone.
  return type === undefined ? /^content-type: *(.*?) *$/im.exec(String(raw._header))?.[1] : String(type);
}

/** Whether a response had been sent to its end. To be asked as it closes. */
export function wasFinished(raw: RawResponse): boolean {
  // The compatibility API of HTTP/2 emits 'finish' for streams that were reset, too.
  if (raw.stream) {
    return raw.stream.writableFinished && !raw.stream.rstCode;
  }
  // And that of HTTP/1, before Node 24, for a socket that was destroyed with bytes still waiting.
  return raw.writableFinished === true && raw.req?.socket?.destroyed !== true;
}

/**
 * Whether a response that is destroyed looks so to its client, and says 'close'. Serverless adapters give Node's own
 * response a socket of straw, which neither does; Fastify's inject() has a `destroy` of its own that does both.
 */
export function canBeCut(raw: RawResponse): boolean {
  const hasNodesDestroy = raw.destroy === ServerResponse.prototype.destroy;
  return (
    raw.stream !== undefined ||
    raw.socket instanceof Socket ||
    waitsForSocket(raw) !== undefined ||
    !hasNodesDestroy
  );
}

/** Destroys what a response is carried by, where its own `destroy` did not. */
export function destroyCarrier({ stream, socket }: RawResponse): void {
  if (!stream && socket instanceof Socket) {
    socket.destroy();
  }
}

/** Frees what waits for the client at once. The client can tell that the answer was cut. */
export function destroyResponse(raw: RawResponse): void {
  if (raw.stream) {
    // destroy() alone resets with NO_ERROR, which reads like a complete answer.
    raw.stream.close(INTERNAL_ERROR);
  }
  raw.destroy();
}

// RFC 9113, section 7. The constant of node:http2 would load that module for every HTTP/1.1 app.
const INTERNAL_ERROR = 0x2;

// Of what imitates a response without its request.
const NO_REQUEST: RawRequest = Object.assign(new EventEmitter(), { headers: {} });

// Classes, not objects with functions of their own: each connection keeps one for as long as it lives.
class FastifyPlatform implements Platform {
  readonly #reply: FastifyReplyLike;

  constructor(reply: FastifyReplyLike) {
    this.#reply = reply;
  }

  get request(): FastifyReplyLike['request'] {
    return this.#reply.request;
  }

  get raw(): RawResponse {
    return this.#reply.raw;
  }

  get rawRequest(): RawRequest {
    return this.request.raw;
  }

  get method(): string {
    return this.rawRequest.method ?? 'GET';
  }

  get route(): string {
    return this.request.routeOptions?.url ?? pathOf(this.rawRequest);
  }

  headersKept(): OutgoingHttpHeaders {
    this.collectHeaders();
    return this.#reply.getHeaders();
  }

  collectHeaders(): void {
    collectCookies(this.#reply);
  }

  setHeader(name: string, value: string): void {
    this.#reply.header(name, value);
  }

  status(): number {
    return this.#reply.statusCode;
  }

  takeOver(): void {
    this.#reply.hijack();
  }

  cover(): void {
    coverReply(this.#reply);
  }

  uncover(): void {
    uncoverReply(this.#reply);
  }
}

class RawPlatform implements Platform {
  readonly raw: RawResponse;

  constructor(raw: RawResponse) {
    this.raw = raw;
  }

  get request(): ExpressRequestLike {
    return this.raw.req ?? NO_REQUEST;
  }

  get rawRequest(): RawRequest {
    return this.raw.req ?? NO_REQUEST;
  }

  get method(): string {
    return this.rawRequest.method ?? 'GET';
  }

  get route(): string {
    const { route, baseUrl } = this.request;
    const path = route?.path;
    return typeof path === 'string' ? `${baseUrl ?? ''}${path}` : pathOf(this.rawRequest);
  }

  headersKept(): OutgoingHttpHeaders {
    return {};
  }

  collectHeaders(): void {
    return;
  }

  setHeader(name: string, value: string): void {
    this.raw.setHeader(name, value);
  }

  status(): number {
    return this.raw.statusCode;
  }

  takeOver(): void {
    return;
  }

  cover(): void {
    return;
  }

  uncover(): void {
    return;
  }
}

/** What `@fastify/cookie` adds to a reply and its server. */
interface CookieReply {
  readonly setCookie?: unknown;
  readonly server?: { serializeCookie?: (name: string, value: string, options: object) => string };
}

/**
 * Sets the cookies of `reply.setCookie()`. `@fastify/cookie` keeps them in a map until its `onSend` hook, and no such
 * hook runs for a stream.
 */
function collectCookies(reply: FastifyReplyLike): void {
  const { setCookie, server } = reply as CookieReply;
  if (typeof setCookie !== 'function' || typeof server?.serializeCookie !== 'function') {
    return;
  }
  const cookies = symbolValue(reply, 'fastify.reply.setCookies');
  if (!(cookies instanceof Map)) {
    return;
  }
  for (const { name, value, opts } of cookies.values() as Iterable<{
    name: string;
    value: string;
    opts: object;
  }>) {
    // Fastify appends to this header.
    reply.header('set-cookie', server.serializeCookie(name, value, opts));
  }
  if (cookies.size > 0) {
    cookies.clear();
    // Nest 11 has read the reply's own by the time at which an @Sse() handler is called.
    reply.raw.setHeader('set-cookie', reply.getHeaders()['set-cookie']!);
  }
}

function symbolValue(object: object, description: string): unknown {
  for (let level: object | null = object; level; level = Object.getPrototypeOf(level) as object | null) {
    const symbol = Object.getOwnPropertySymbols(level).find((own) => own.description === description);
    if (symbol) {
      return (object as Record<symbol, unknown>)[symbol];
    }
  }
  return undefined;
}

function isFastifyReply(res: unknown): res is FastifyReplyLike {
  return isObject(res) && typeof res.hijack === 'function' && isRawResponse(res.raw);
}

function isRawResponse(res: unknown): res is RawResponse {
  return ['writeHead', 'write', 'end', 'on'].every(
    (name) => isObject(res) && typeof res[name] === 'function',
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function pathOf(request: RawRequest): string {
  // It ends up in log lines: no query, which may hold a token, and no line breaks (Node allows none here).
  return (request.url ?? '/').split('?', 1)[0]!.slice(0, 200);
}
