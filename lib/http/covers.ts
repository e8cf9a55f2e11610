import { OutgoingMessage } from 'node:http';
import type { RawResponse } from './platform.js';

// ServerResponse inherits it. A method that stands on ServerResponse itself, or on Express's response, is a wrapper.
const NODE_WRITE = Reflect.get(OutgoingMessage.prototype, 'write') as unknown;
const CONNECTION = Symbol.for('nestjs-event-stream:connection');

/** Is called when other code answers on a response that serves an event stream. */
export interface AnswerGuard {
  readonly covered: Covered | undefined;
  /** `end` of the response was called, by this package or by other code. @returns the result of `end` */
  onEnd(args: readonly unknown[]): unknown;
  /** Other code tried to answer with a status of its own, as an exception filter does. */
  onAnswer(status: number): void;
  /** `write` of a compressed response was called, by this package or by other code. @returns the result of `write` */
  onWrite(args: readonly unknown[]): unknown;
}

/** The response's own methods, before they were replaced. A field is undefined if the response inherits the method. */
export interface Covered {
  readonly end: unknown;
  readonly setHeader: unknown;
  readonly write?: unknown;
}

interface Marked {
  [CONNECTION]?: AnswerGuard;
}

interface FastifyReply {
  readonly raw: object;
  readonly statusCode: number;
  send(payload: unknown): unknown;
}

/** Returns the event stream that writes to a response. */
export function guardOf(raw: object): AnswerGuard | undefined {
  return (raw as Marked)[CONNECTION];
}

export function setGuard(raw: object, guard: AnswerGuard): void {
  Object.defineProperty(raw, CONNECTION, { value: guard, configurable: true });
}

export function removeGuard(raw: object): void {
  delete (raw as Marked)[CONNECTION];
}

/**
 * Replaces a response's `end` and `setHeader` by methods that call its guard. Other code that ends the stream is
 * noticed before the last bytes leave: Node's `prefinish` comes after them, and HTTP/2 has none. A wrapper that is
 * added later still calls these methods, unless it calls Node's directly.
 *
 * @param isCompressed - `write` is replaced as well: plain bytes of other code would end a compressed stream for good
 * @returns the own methods of the response, if it had any
 */
export function coverResponse(raw: RawResponse, isCompressed = false): Covered | undefined {
  const covered = {
    end: ownOf(raw, 'end'),
    setHeader: ownOf(raw, 'setHeader'),
    ...(isCompressed ? { write: ownOf(raw, 'write') } : {}),
  };
  raw.end = endOfOurs;
  // The headers are out. Code that sets one now means to answer, and gets Node's own error.
  raw.setHeader = setHeaderOfOurs;
  if (isCompressed) {
    raw.write = writeOfOurs;
  }
  return covered.end || covered.setHeader || covered.write ? covered : undefined;
}

/** Restores the methods that {@link coverResponse} replaced. Under a later wrapper ours stay, and pass each call on. */
export function uncoverResponse(raw: RawResponse, covered: Covered | undefined): void {
  restore(raw, 'end', endOfOurs, covered?.end);
  restore(raw, 'setHeader', setHeaderOfOurs, covered?.setHeader);
  restore(raw, 'write', writeOfOurs, covered?.write);
}

/** Calls the `end` that {@link coverResponse} replaced. */
export function endUnderOurs(
  raw: RawResponse,
  covered: Covered | undefined,
  args: readonly unknown[],
): unknown {
  return Reflect.apply((covered?.end ?? inherited(raw, 'end')) as RawResponse['end'], raw, args);
}

/** Calls the `write` that {@link coverResponse} replaced. */
export function writeUnderOurs(
  raw: RawResponse,
  covered: Covered | undefined,
  args: readonly unknown[],
): unknown {
  return Reflect.apply((covered?.write ?? inherited(raw, 'write')) as RawResponse['write'], raw, args);
}

/** Whether a `write` is that of Node's HTTP/1 response, or the one that {@link coverResponse} puts over it. */
export function isNodeWrite(write: unknown): boolean {
  return write === NODE_WRITE || write === writeOfOurs;
}

/** Notices an answer to a reply that this package has taken over: Fastify only logs it. */
export function coverReply(reply: object): void {
  (reply as FastifyReply).send = sendOfOurs;
}

export function uncoverReply(reply: object): void {
  restore(reply, 'send', sendOfOurs, undefined);
}

function endOfOurs(this: RawResponse, ...args: unknown[]): unknown {
  const guard = guardOf(this);
  return guard ? guard.onEnd(args) : endUnderOurs(this, undefined, args);
}

function writeOfOurs(this: RawResponse, ...args: unknown[]): boolean {
  const guard = guardOf(this);
  return (guard ? guard.onWrite(args) : writeUnderOurs(this, undefined, args)) as boolean;
}

function setHeaderOfOurs(this: RawResponse, ...args: unknown[]): unknown {
  const guard = guardOf(this);
  guard?.onAnswer(this.statusCode);
  return Reflect.apply(
    (guard?.covered?.setHeader ?? inherited(this, 'setHeader')) as () => unknown,
    this,
    args,
  );
}

function sendOfOurs(this: FastifyReply, payload: unknown): unknown {
  guardOf(this.raw)?.onAnswer(this.statusCode);
  return Reflect.apply(inherited(this, 'send') as () => unknown, this, [payload]);
}

function ownOf(object: object, name: string): unknown {
  return Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
}

function inherited(object: object, name: string): unknown {
  return (Object.getPrototypeOf(object) as Record<string, unknown>)[name];
}

function restore(object: object, name: string, ours: unknown, own: unknown): void {
  const methods = object as Record<string, unknown>;
  if (methods[name] !== ours) {
    return;
  }
  if (own === undefined) {
    Reflect.deleteProperty(object, name);
  } else {
    methods[name] = own;
  }
}
