import { get } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { EventStreamParser } from '../../lib/testing/event-stream.parser.js';
import { parsePosition } from '../../lib/wire/index.js';
import { covers } from './history.js';
import type { History } from './history.js';

/** What the log holds, and how much of it is replayed at most. */
export interface Held {
  readonly first: number;
  readonly last: number;
  readonly maxReplayEvents: number;
}

/** The id that a client comes back with: its own, or one that no log would give it. */
export interface Return {
  readonly id: string | undefined;
  /** The reason of the reset that must come, where one must. */
  readonly mustReset?: string;
}

/**
 * A client that checks what it gets against the history, event by event: nothing out of order,
 * nothing twice, nothing missing, and no reset where the log still held what it missed.
 */
export class StressClient {
  readonly faults: string[] = [];
  readonly resets: Record<string, number> = {};
  received = 0;
  readonly patterns: readonly string[];
  readonly #url: string;
  readonly #history: History;
  readonly #held: () => Held;
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
  #seen: number | undefined;
  #lastId: string | undefined;
  #mustReset: string | undefined;
  #isFirstEvent = true;
  #lastType = '';
  #sinceConnect = 0;
  #connectId: string | undefined;

  constructor(options: { url: string; patterns: readonly string[]; history: History; held: () => Held }) {
    this.#url = options.url;
    this.patterns = options.patterns;
    this.#history = options.history;
    this.#held = options.held;
  }

  get lastId(): string | undefined {
    return this.#lastId;
  }

  /** The sequence up to which it holds everything. */
  get seen(): number {
    return this.#seen ?? 0;
  }

  async connect({ id, mustReset }: Return = { id: this.#lastId }): Promise<void> {
    this.#mustReset = mustReset;
    this.#isFirstEvent = true;
    this.#sinceConnect = 0;
    this.#connectId = id;
    const query = this.patterns.map((pattern) => `pattern=${encodeURIComponent(pattern)}`).join('&');
    const headers = id === undefined ? {} : { 'Last-Event-ID': id };
    const request = get(`${this.#url}?${query}`, { headers, agent: false });
    this.#request = request;
    this.#response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
    });
    const parser = new EventStreamParser({
      event: ({ type, data, lastEventId }) => {
        // What was on its way when it left is not received.
        if (this.#request === request) {
          this.#take(type, data, lastEventId);
        }
      },
      comment: () => undefined,
      retry: () => undefined,
    });
    this.#response.on('data', (bytes: Buffer) => parser.push(bytes));
    this.#response.on('error', () => undefined);
    request.on('error', () => undefined);
  }

  stall(): void {
    this.#response?.pause();
  }

  readOn(): void {
    this.#response?.resume();
  }

  drop(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.destroy();
  }

  #take(type: string, data: string, id: string): void {
    const { sequence } = parsePosition(id) ?? { sequence: -1 };
    if (type === 'reset') {
      this.#takeReset((JSON.parse(data) as { reason: string }).reason);
    } else if (this.#isFirstEvent && this.#mustReset) {
      this.faults.push(`A ${type} came where a reset for ${this.#mustReset} had to.`);
    } else if (this.#seen !== undefined) {
      this.#checkProgress(type, data, sequence);
    } else if (type !== 'cursor') {
      this.faults.push(`The first event of a new client was a ${type}.`);
    }
    this.#lastType = type;
    this.#sinceConnect += 1;
    this.#isFirstEvent = false;
    this.#mustReset = undefined;
    this.#seen = sequence;
    this.#lastId = id;
  }

  #takeReset(reason: string): void {
    this.resets[reason] = (this.resets[reason] ?? 0) + 1;
    if (this.#mustReset) {
      if (reason !== this.#mustReset) {
        this.faults.push(`A reset for ${this.#mustReset} had to come; it was for ${reason}.`);
      }
      return;
    }
    const { first, last, maxReplayEvents } = this.#held();
    const isNecessary =
      reason === 'trimmed' ? first > this.seen : reason === 'limit' && last - this.seen > maxReplayEvents;
    if (!isNecessary) {
      this.faults.push(`A reset for ${reason} after ${this.seen}, and the log holds ${first} to ${last}.`);
    }
  }

  #checkProgress(type: string, data: string, sequence: number): void {
    const isEvent = type !== 'cursor';
    if (sequence < this.seen || (isEvent && sequence === this.seen)) {
      this.faults.push(
        `The ${type} ${sequence} came after the ${this.#lastType} ${this.seen}, ${this.#sinceConnect} events after connecting with ${this.#connectId}.`,
      );
    }
    const missing = this.#history.missingBetween(this.seen, isEvent ? sequence : sequence + 1, this.patterns);
    if (missing !== undefined) {
      this.faults.push(
        `${missing} is missing between ${this.seen} and ${sequence} for ${this.patterns.join(' ')}.`,
      );
    }
    if (isEvent) {
      this.received += 1;
      this.#checkContent(data, sequence);
    }
  }

  #checkContent(data: string, sequence: number): void {
    const published = this.#history.at(sequence);
    if (published?.content !== data) {
      this.faults.push(`${sequence} has not the content that was published.`);
    } else if (!this.patterns.some((pattern) => covers(pattern, published.topic))) {
      this.faults.push(
        `${sequence} is of ${published.topic}, which ${this.patterns.join(' ')} does not cover.`,
      );
    }
  }
}
