import { get } from 'node:http';
import type { ClientRequest } from 'node:http';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';
import { codingFor, decodedBody } from '../coding.js';
import type { Wish } from '../memory/wish.js';
import type { ClientRecord, PlainSight, Sight } from './history.js';

/** A client that writes down what it gets, and comes back with the last id that it got. */
export class ChaosClient implements ClientRecord {
  readonly name: string;
  readonly wishes: readonly Wish[];
  readonly isCleared: boolean;
  hasLeft = false;
  readonly sights: Sight[] = [];
  /** Resets that it was told of, by reason. */
  readonly resets: Record<string, number> = {};
  /** Streams that it could not decode. */
  readonly faults: string[] = [];
  #request: ClientRequest | undefined;
  #lastId: string | undefined;

  constructor({ name, wishes, isCleared }: Pick<ClientRecord, 'name' | 'wishes' | 'isCleared'>) {
    this.name = name;
    this.wishes = wishes;
    this.isCleared = isCleared;
  }

  get lastId(): string | undefined {
    return this.#lastId;
  }

  /** Whether it has a stream, or waits for one. */
  get isConnected(): boolean {
    return this.#request !== undefined;
  }

  /** How many events it has got. */
  get received(): number {
    return this.sights.reduce((sum, { kind }) => sum + (kind === 'event' ? 1 : 0), 0);
  }

  /**
   * Opens its stream, from where it was.
   *
   * @param forgedId - in place of its own: one that no log would give
   */
  connect(base: string, forgedId?: string): void {
    this.drop();
    const id = forgedId ?? this.#lastId;
    this.#see({ kind: 'connect', id, isForged: forgedId !== undefined });
    const query = new URLSearchParams({ wishes: JSON.stringify(this.wishes) });
    if (this.isCleared) {
      query.set('cleared', '');
    }
    const headers = { ...codingFor(this.name), ...(id !== undefined && { 'Last-Event-ID': id }) };
    const request = get(`${base}/follow?${query.toString()}`, { headers, agent: false });
    this.#request = request;
    const leave = () => {
      if (this.#request === request) {
        this.#request = undefined;
      }
    };
    const parser = new EventStreamParser({
      // What was on its way when it left is not received.
      event: (event) => void (this.#request === request && this.#take(event)),
      comment: () => undefined,
      retry: () => undefined,
    });
    request.on('error', leave).on('response', (response) => {
      decodedBody(response)
        .on('data', (bytes) => parser.push(bytes))
        .on('broken', (error) =>
          this.faults.push(`${this.name} could not decode its stream: ${error.message}`),
        )
        .on('close', leave);
    });
  }

  drop(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.destroy();
  }

  /** For good. */
  leave(): void {
    this.hasLeft = true;
    this.drop();
  }

  #take({ type, data, id = '' }: { type: string; data: string; id: string | undefined }): void {
    this.#lastId = id;
    if (type === 'cursor') {
      this.#see({ kind: 'cursor', id });
    } else if (type === 'reset') {
      const { reason } = JSON.parse(data) as { reason: string };
      this.resets[reason] = (this.resets[reason] ?? 0) + 1;
      this.#see({ kind: 'reset', id, reason });
    } else {
      this.#see({ kind: 'event', id, data });
    }
  }

  #see(sight: PlainSight): void {
    this.sights.push({ ...sight, at: performance.now() });
  }
}
