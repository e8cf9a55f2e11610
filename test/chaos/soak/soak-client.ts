import { request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';
import { parsePosition } from '../../../lib/wire/index.js';

/** What all clients of a soak have met. */
export class Tally {
  /** Streams that were opened, by status. */
  readonly opened: Record<number, number> = {};
  events = 0;
  resets = 0;
  /** Clients that came back with an id. */
  resumed = 0;
  /** Requests other than streams. */
  requests = 0;
  publishes = 0;
  /** What must not be: an event that is older than the one before it, an answer that is none. */
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
    { method = 'GET', user, lastId }: { method?: string; user?: string; lastId?: string | undefined } = {},
  ): Promise<SoakClient> {
    const headers = {
      ...(user !== undefined && { 'X-User': user }),
      ...(lastId !== undefined && { 'Last-Event-ID': lastId }),
    };
    const client = new SoakClient(url, method, headers, tally);
    const response = new Promise<IncomingMessage>((resolve) => client.#request.once('response', resolve));
    client.#request.end();
    client.#read(await Promise.race([response, client.ended]));
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
      event: ({ type, id, lastEventId }) => this.#take(type, id, lastEventId),
      comment: () => undefined,
      retry: () => undefined,
    });
    response.on('data', (bytes: Buffer) => parser.push(bytes)).on('error', () => undefined);
  }

  #take(type: string, id: string | undefined, lastEventId: string): void {
    this.lastId = lastEventId || undefined;
    this.#tally.events += 1;
    this.#tally.resets += type === 'reset' ? 1 : 0;
    const place = id === undefined ? undefined : parsePosition(id);
    const before = this.#place;
    if (place && before?.epoch === place.epoch && type === 'changed' && place.sequence <= before.sequence) {
      this.#tally.fault(`Event ${place.sequence} came after ${before.sequence}.`);
    }
    this.#place = place ?? before;
  }
}
