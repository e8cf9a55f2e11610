import { request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';
import type { EventStreamHandlers } from '../../../lib/testing/event-stream.parser.js';
import { parsePosition } from '../../../lib/wire/index.js';
import { decodedBody } from '../coding.js';

/** How a stream of the soak is opened. */
export interface OpenOptions {
  readonly method?: string;
  readonly user?: string;
  readonly lastId?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the client takes gzip. */
  readonly gzip?: boolean;
}

/** Milliseconds for an answer: a bound for a server that gives none. */
export const ANSWER_MS = 120_000;

/** What all clients of a soak have met. */
export class Tally {
  /** Streams that were opened, by status. */
  readonly opened: Record<number, number> = {};
  /** Streams that were compressed. */
  compressed = 0;
  events = 0;
  resets = 0;
  /** Clients that came back with an id. */
  resumed = 0;
  /** Requests other than streams. */
  requests = 0;
  publishes = 0;
  /** What must not be: an event older than the one before it, broken data, a wrong answer, or none. */
  readonly faults: string[] = [];

  fault(what: string): void {
    if (this.faults.length < 20) {
      this.faults.push(what);
    }
  }
}

/** A stream of the soak. It checks that the places of its events rise. */
export class SoakClient {
  lastId: string | undefined;
  status = 0;
  readonly ended: Promise<void>;
  readonly #request: ClientRequest;
  readonly #tally: Tally;
  #response: IncomingMessage | undefined;
  #place: { epoch: string; sequence: number } | undefined;

  private constructor(url: string, method: string, headers: Record<string, string>, tally: Tally) {
    this.#tally = tally;
    this.#request = request(url, { method, headers, agent: false });
    // What ends a stream is for the caller no failure: it looks at the status.
    this.ended = new Promise((resolve) => {
      this.#request.once('close', resolve).on('error', () => undefined);
    });
  }

  /** Opens a stream. Resolves when the headers are there, or the server has refused the socket. */
  static async open(
    url: string,
    tally: Tally,
    { method = 'GET', user, lastId, gzip = false, headers: more }: OpenOptions = {},
  ): Promise<SoakClient> {
    const headers = {
      ...more,
      ...(gzip && { 'Accept-Encoding': 'gzip' }),
      ...(user !== undefined && { 'X-User': user }),
      ...(lastId !== undefined && { 'Last-Event-ID': lastId }),
    };
    const client = new SoakClient(url, method, headers, tally);
    const response = new Promise<IncomingMessage>((resolve) => client.#request.once('response', resolve));
    client.#request.end();
    const unanswered = setTimeout(() => {
      tally.fault(`${method} ${url} was not answered in ${ANSWER_MS} ms.`);
      client.close();
    }, ANSWER_MS);
    client.#read(await Promise.race([response, client.ended]));
    clearTimeout(unanswered);
    tally.opened[client.status] = (tally.opened[client.status] ?? 0) + 1;
    tally.resumed += lastId === undefined ? 0 : 1;
    return client;
  }

  pause(): void {
    this.#response?.pause();
  }

  resume(): void {
    this.#response?.resume();
  }

  close(): void {
    this.#request.destroy();
  }

  #read(response: IncomingMessage | void): void {
    if (!response) {
      return;
    }
    this.#response = response;
    this.status = response.statusCode!;
    const parser = new EventStreamParser({
      event: (event) => this.#take(event),
      comment: () => undefined,
      retry: () => undefined,
    });
    this.#tally.compressed += response.headers['content-encoding'] === 'gzip' ? 1 : 0;
    decodedBody(response)
      .on('data', (bytes) => parser.push(bytes))
      .on('broken', (error) => this.#tally.fault(`A stream cannot be decoded: ${error}`));
  }

  #take({ type, data, id, lastEventId }: Parameters<EventStreamHandlers['event']>[0]): void {
    this.lastId = lastEventId || undefined;
    this.#tally.events += 1;
    this.#tally.resets += type === 'reset' ? 1 : 0;
    const place = id === undefined ? undefined : parsePosition(id);
    const before = this.#place;
    if (place && before?.epoch === place.epoch && type === 'changed' && place.sequence <= before.sequence) {
      this.#tally.fault(`Event ${place.sequence} came after ${before.sequence}.`);
    }
    if (type === 'changed' && !isJson(data)) {
      this.#tally.fault(`The data of event ${id} is broken: ${data.slice(0, 200)}`);
    }
    this.#place = place ?? before;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
