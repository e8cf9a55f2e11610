import { EventEmitter } from 'node:events';
import { ServerResponse } from 'node:http';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, OutgoingHttpHeader } from 'node:http';
import { Socket } from 'node:net';
import { show, SseError } from '../errors/index.js';
import { coverReply, uncoverReply } from './covers.js';

/** A request of `node:http`, or of the compatibility API of `node:http2`. */
export interface RawRequest extends EventEmitter {
  readonly method?: string;
  readonly url?: string;
  readonly httpVersion?: string;
  readonly headers: IncomingHttpHeaders;
  readonly socket?: Socket | null;
}

/** A response of `node:http`, or of the compatibility API of `node:http2`. */
export interface RawResponse extends EventEmitter {
  /** Absent from an imitated response, as in a test. */
  readonly req?: RawRequest;
  /** Absent before a pipelined response has its turn, and after the end. */
  readonly socket: Socket | null;
  /** The HTTP/2 stream; HTTP/1.1 has none. */
  readonly stream?: RawHttp2Stream;
  readonly headersSent: boolean;
  /** The head as text, once it is written. Only `node:http` has it. */
  readonly _header?: string | boolean | null;
  readonly writableEnded: boolean;
  readonly writableFinished?: boolean;
  readonly writableLength: number;
  /** Only `node:http` has it. */
  readonly writableNeedDrain?: boolean;
  readonly destroyed?: boolean;
  /** False if the client, or HTTP/1.0, wants the connection closed after the answer. */
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

/** An HTTP/2 stream. */
export interface RawHttp2Stream {
  readonly destroyed: boolean;
  readonly rstCode?: number;
  readonly writableFinished: boolean;
  readonly writableNeedDrain: boolean;
  close(code?: number): void;
}

/**
 * A request and its response in one shape for Express, Fastify and plain Node. Only this folder knows Fastify's `.raw`.
 */
export interface Platform {
  /** The framework's request, as the app's handlers see it. */
  readonly request: unknown;
  readonly rawRequest: RawRequest;
  readonly raw: RawResponse;
  readonly method: string;
  /** The pattern of the route, or else the path, for log lines. */
  readonly route: string;
  /** Headers that the framework keeps until it replies. Empty if it keeps none. */
  headersKept(): OutgoingHttpHeaders;
  /** Adds headers that a plugin of the framework adds in a hook, which does not run for a stream. */
  collectHeaders(): void;
  setHeader(name: string, value: string): void;
  status(): number;
  /** Takes the response over from the framework. Its reply cannot be used afterwards. */
  takeOver(): void;
  /** Replaces methods of the framework's reply, to notice answers of other code that bypass Node's response. */
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
 * Returns the platform of a response.
 *
 * @param res - Express's response, Fastify's reply, or Node's own response
 * @throws SseError `response-invalid` for any other value
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

/** Whether {@link toPlatform} accepts a value. */
export function isResponse(res: unknown): boolean {
  return isFastifyReply(res) || isRawResponse(res);
}

/** Whether nothing that is written can reach the client any more. */
export function isGone(raw: RawResponse): boolean {
  const carrier = raw.stream ?? raw.socket ?? waitsForSocket(raw);
  return raw.destroyed === true || carrier?.destroyed === true;
}

/** Returns the socket of a response that is pipelined behind another, and whose turn has not come. */
export function waitsForSocket(raw: RawResponse): Socket | undefined {
  const isWaiting = !raw.stream && !raw.socket && !raw.writableEnded;
  return (isWaiting && raw.req?.socket) || undefined;
}

/** Whether Node's own response, under all wrappers, takes no more and will emit 'drain'. */
export function needsDrain({ stream, writableNeedDrain }: RawResponse): boolean {
  return (stream ? stream.writableNeedDrain : writableNeedDrain) === true;
}

/** Keeps the server's idle timeout from ending a quiet stream. Node restores it for the next request on the socket. */
export function spareFromIdleTimeout({ stream, socket }: RawResponse): void {
  // In place of a socket, Fastify's inject() has an object without timeouts.
  if (!stream && socket instanceof Socket) {
    socket.setTimeout(0);
  }
}

/** Returns the content type that was sent, if it can be found. */
export function sentContentType(raw: RawResponse): string | undefined {
  const type = raw.getHeader('Content-Type');
  // If no header was set before writeHead(), the headers that were passed to it are found only in this text.
  return type === undefined ? /^content-type: *(.*?) *$/im.exec(String(raw._header))?.[1] : String(type);
}

/** Whether a response was sent to its end. Call it when the response closes. */
export function wasFinished(raw: RawResponse): boolean {
  // The compatibility API of HTTP/2 emits 'finish' for streams that were reset, too.
  if (raw.stream) {
    return raw.stream.writableFinished && !raw.stream.rstCode;
  }
  // Before Node 24, HTTP/1 emits 'finish' for a socket that was destroyed while bytes waited, too.
  return raw.writableFinished === true && raw.req?.socket?.destroyed !== true;
}

/**
 * Whether the client notices that a response is destroyed, and the response emits 'close'. With the fake socket of a
 * serverless adapter neither happens. Fastify's inject() has a `destroy` of its own that does both.
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

/** Destroys the socket of a response whose own `destroy` did not. */
export function destroyCarrier({ stream, socket }: RawResponse): void {
  if (!stream && socket instanceof Socket) {
    socket.destroy();
  }
}

/** Destroys a response, and frees the bytes that wait. The client notices that the answer was cut. */
export function destroyResponse(raw: RawResponse): void {
  if (raw.stream) {
    // destroy() alone resets with NO_ERROR, which looks like a complete answer.
    raw.stream.close(INTERNAL_ERROR);
  }
  raw.destroy();
}

// RFC 9113, section 7. To import the constant would load node:http2 in every HTTP/1.1 app.
const INTERNAL_ERROR = 0x2;

// The request of an imitated response that has none.
const NO_REQUEST: RawRequest = Object.assign(new EventEmitter(), { headers: {} });

// Classes use less memory than closures: each connection keeps a platform as long as it is open.
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

/** A reply with the parts of `@fastify/cookie`. */
interface CookieReply {
  readonly setCookie?: unknown;
  readonly server?: { serializeCookie?: (name: string, value: string, options: object) => string };
}

/**
 * Sets the cookies of `reply.setCookie()` as headers. `@fastify/cookie` keeps them in a map until its `onSend` hook,
 * which does not run for a stream.
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
    // Nest 11 has already read the reply's headers when it calls an @Sse() handler.
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
  // For log lines: without the query, which may hold a token. Node allows no line breaks here.
  return (request.url ?? '/').split('?', 1)[0]!.slice(0, 200);
}
