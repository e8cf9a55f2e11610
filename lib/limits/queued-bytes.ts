import { KeyCounts } from './key-counts.js';
import type { Limits } from './limits.js';

/** A client for which bytes may wait in this process. */
export interface QueueingClient {
  readonly keys: readonly string[];
  /** Bytes that wait for it alone; 0 if it keeps up. */
  readonly queuedBytes: number;
  /** Closes it at once. What waits for it is lost. */
  closeAsSlow(): void;
}

/**
 * The bytes that wait for clients which do not read, of each key and of the process. Past a limit, the client for which
 * most wait is closed: the others of the key, or of the process, are not its victims.
 */
export class QueuedBytes {
  readonly #limits: Limits;
  /** The bytes of each client that does not keep up, as they were when it was written to last. */
  readonly #bytesOf = new Map<QueueingClient, number>();
  readonly #ofKeys = new KeyCounts();
  #total = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Bytes that wait in this process, at most. */
  get total(): number {
    return this.#total;
  }

  /** Bytes that wait for the clients of a key, at most. */
  of(key: string): number {
    return this.#ofKeys.of(key);
  }

  /** Notes how much waits for a client, and closes clients as long as that is too much. */
  update(client: QueueingClient): void {
    if (!this.#measure(client)) {
      return;
    }
    const { queuedBytesPerKey, queuedBytes } = this.#limits.settings;
    for (const key of client.keys) {
      if (this.of(key) > queuedBytesPerKey) {
        this.#shrink('queuedBytesPerKey', () => this.of(key), this.#clientsOf(key));
      }
    }
    if (this.#total > queuedBytes) {
      this.#shrink('queuedBytes', () => this.#total, Array.from(this.#bytesOf.keys()));
    }
  }

  /** Forgets a client that is gone. */
  delete(client: QueueingClient): void {
    this.#set(client, 0);
  }

  /** @returns whether more waits than before */
  #measure(client: QueueingClient): boolean {
    const before = this.#bytesOf.get(client) ?? 0;
    const bytes = client.queuedBytes;
    this.#set(client, bytes);
    return bytes > before;
  }

  #set(client: QueueingClient, bytes: number): void {
    const more = bytes - (this.#bytesOf.get(client) ?? 0);
    if (bytes > 0) {
      this.#bytesOf.set(client, bytes);
    } else {
      this.#bytesOf.delete(client);
    }
    if (more !== 0) {
      this.#total += more;
      this.#ofKeys.add(client.keys, more);
    }
  }

  #clientsOf(key: string): QueueingClient[] {
    return Array.from(this.#bytesOf.keys()).filter(({ keys }) => keys.includes(key));
  }

  #shrink(
    limit: 'queuedBytesPerKey' | 'queuedBytes',
    waiting: () => number,
    clients: QueueingClient[],
  ): void {
    // A part may have left since: sockets tell only that all has.
    clients.forEach((client) => this.#measure(client));
    const largestFirst = clients.toSorted((a, b) => b.queuedBytes - a.queuedBytes);
    for (const client of largestFirst) {
      if (waiting() <= this.#limits.settings[limit]) {
        return;
      }
      this.#limits.onQueueFull(limit, client.keys);
      client.closeAsSlow();
      this.delete(client);
    }
  }
}
