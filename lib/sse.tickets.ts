import { UnauthorizedException } from '@nestjs/common';
import { show, SseError } from './errors/index.js';
import { toPlatform } from './http/index.js';
import type { Platform } from './http/index.js';
import { areKeys } from './limits/index.js';
import type { TicketContent, Tickets } from './trust/index.js';
import { encodeEvent } from './wire/index.js';

/** What a ticket says of the client who presents it. */
export interface SseTicket {
  /** To whom it was issued, as given to `issue`. */
  readonly keys: readonly string[];
  /** The app's own value, as JSON reads it. */
  readonly data: unknown;
}

/**
 * Tickets: short-lived tokens for the URL of an `EventSource`, which can send no header. A ticket opens one stream,
 * once, on any instance. {@link SseTicketGuard} redeems it.
 *
 * @example
 * ```ts
 * @Post('ticket')
 * @UseGuards(SessionGuard)
 * ticket(@User() user: UserDto) {
 *   return { ticket: this.sse.tickets.issue({ key: user.id }) };
 * }
 * ```
 */
export class SseTickets {
  readonly #tickets: Tickets | undefined;
  readonly #host: TicketsHost;

  /** @internal */
  constructor(tickets: Tickets | undefined, host: TicketsHost) {
    this.#tickets = tickets;
    this.#host = host;
  }

  /**
   * Issues a ticket: a text of letters, digits, `-`, `_` and `.`, of 4,096 characters at most. It is signed and not
   * encrypted: a reader of the URL can read `key` and `data`. Answer it to a request that the user's session
   * authenticates, and that no cache keeps.
   *
   * @param options.key - to whom the stream belongs, such as a user's id, or several; each 1 to 512 characters
   * @param options.data - a value for the guarded route, as JSON: see {@link ticketOf}
   * @throws SseError `options-invalid`; `misuse` without the option `tickets`
   */
  issue({ key, data }: { key: string | readonly string[]; data?: unknown }): string {
    return this.#required('tickets.issue()').issue(keysOf(key), data);
  }

  /** Refuses to work without the option `tickets`. @internal */
  require(what: string): void {
    this.#required(what);
  }

  /**
   * Redeems the ticket of a request. A GET whose ticket is spent is answered here: the promise does not resolve then,
   * so that neither the handler nor a filter acts on a response that is over.
   *
   * @throws UnauthorizedException without an authentic ticket, and for a spent one of another method @internal
   */
  async redeem(res: unknown): Promise<true> {
    const platform = toPlatform(res);
    const token = ticketFrom(platform.rawRequest.url);
    const outcome = token === undefined ? 'invalid' : await this.#required('SseTicketGuard').redeem(token);
    if (typeof outcome === 'object') {
      remember(platform, outcome);
      return true;
    }
    const isGet = platform.method === 'GET' || platform.method === 'HEAD';
    if (outcome === 'invalid' || !isGet || platform.raw.headersSent) {
      throw new UnauthorizedException('The stream needs a valid ticket in its URL: ?ticket=…');
    }
    this.#host.turnAway(platform, RETRY_MS, (retryMs) => encodeSpent(retryMs));
    return new Promise(() => undefined);
  }

  #required(what: string): Tickets {
    if (!this.#tickets) {
      throw new SseError(
        'misuse',
        `${what} needs the option "tickets" of SseModule.forRoot(), with a secret that all instances share.`,
      );
    }
    return this.#tickets;
  }
}

/** The service, as its tickets see it. */
export interface TicketsHost {
  /**
   * Answers a GET with a stream that ends after one frame.
   *
   * @param retryMs - when a client that ignores the frame may come back
   * @param frame - makes the frame, given the milliseconds after which a client should come back with a new ticket
   */
  turnAway(platform: Platform, retryMs: number, frame: (retryMs: number) => string): void;
}

/**
 * Returns what the ticket of a request says, in guards, pipes, interceptors and handlers behind {@link SseTicketGuard}.
 * Elsewhere it is undefined.
 *
 * @param request - the request of Express, Fastify or Node
 */
export function ticketOf(request: unknown): SseTicket | undefined {
  return (request as { [TICKET]?: SseTicket } | null | undefined)?.[TICKET];
}

// Copies of the package share the symbol. A symbol, since loggers print a request's own names.
const TICKET = Symbol.for('nestjs-event-stream:ticket');
// A client that ignores the event comes back with the same URL, in vain.
const RETRY_MS = 3_600_000;

function remember({ request, rawRequest }: Platform, { keys, data }: TicketContent): void {
  for (const target of new Set([request, rawRequest])) {
    Object.defineProperty(target, TICKET, { value: { keys, data } satisfies SseTicket, configurable: true });
  }
}

function encodeSpent(retryMs: number): string {
  return encodeEvent({ type: 'ticket', data: { retryMs } }, { maxEventBytes: Infinity });
}

/** Reads `?ticket=`. The app's own query parser may make an object of it. Two tickets are none. */
function ticketFrom(url = ''): string | undefined {
  const start = url.indexOf('?');
  const given = start === -1 ? [] : new URLSearchParams(url.slice(start)).getAll('ticket');
  return given.length === 1 ? given[0] : undefined;
}

function keysOf(key: unknown): readonly string[] {
  const keys: readonly unknown[] = [...new Set([key].flat())];
  if (keys.length === 0 || !areKeys(keys)) {
    throw new SseError(
      'options-invalid',
      `"key" of a ticket must be a string of 1 to 512 characters, or a list of 1 to 8 of them, got ${show(key)}.`,
      { field: 'key' },
    );
  }
  return keys;
}
