import type { RawResponse } from './platform.js';

const CONNECTION = Symbol.for('nestjs-event-stream:connection');

/** Is called when other code answers on a response that serves an event stream. */
export interface AnswerGuard {
  readonly covered: Covered | undefined;
  /** `end` of the response was called, by this package or by other code. @returns the result of `end` */
  onEnd(args: readonly unknown[]): unknown;
  /** Other code tried to answer with a status of its own, as an exception filter does. */
  onAnswer(status: number): void;
}

/** The response's own methods, before they were replaced. A field is undefined if the response inherits the method. */
export interface Covered {
  readonly end: unknown;
  readonly setHeader: unknown;
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
 * @returns the own methods of the response, if it had any
 */
export function coverResponse(raw: RawResponse): Covered | undefined {
  const covered = { end: ownOf(raw, 'end'), setHeader: ownOf(raw, 'setHeader') };
  raw.end = endOfOurs;
  // The headers are out. Code that sets one now means to answer, and gets Node's own error.
  raw.setHeader = setHeaderOfOurs;
  return covered.end || covered.setHeader ? covered : undefined;
}

/** Restores the methods that {@link coverResponse} replaced. Under a later wrapper ours stay, and pass each call on. */
export function uncoverResponse(raw: RawResponse, covered: Covered | undefined): void {
  restore(raw, 'end', endOfOurs, covered?.end);
  restore(raw, 'setHeader', setHeaderOfOurs, covered?.setHeader);
}

/** Calls the `end` that {@link coverResponse} replaced. */
export function endUnderOurs(
  raw: RawResponse,
  covered: Covered | undefined,
  args: readonly unknown[],
): unknown {
  return Reflect.apply((covered?.end ?? inherited(raw, 'end')) as RawResponse['end'], raw, args);
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
