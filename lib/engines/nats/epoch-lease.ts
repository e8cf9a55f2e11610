import { SseError } from '../../errors/index.js';
import { pause } from '../../time/index.js';
import type { Leases } from './lease.js';
import type { NatsLink } from './link.js';
import type { NatsStream } from './stream.js';

/** Runs work that replaces an epoch. Its signal aborts when another instance may begin the same work. */
export type Exclusively = <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;

// No named log has this name: those of runs begin with `run`.
const NAME = 'log:epoch';
// The work makes two requests.
const TTL_REQUESTS = 3;
const AGAIN_MS = 50;

/**
 * The lease under which an instance replaces the epoch of the app's log. JetStream updates a stream without a
 * comparison: two instances that see one loss at once would both replace the epoch, and clients would be reset twice.
 */
export class EpochLease {
  readonly #link: NatsLink;
  readonly #stream: NatsStream;
  readonly #leases: Leases;

  /** @param stream - the stream of the leases */
  constructor(link: NatsLink, stream: NatsStream, leases: Leases) {
    this.#link = link;
    this.#stream = stream;
    this.#leases = leases;
  }

  /**
   * Waits for the lease, and works under it.
   *
   * @throws SseError `log-unavailable`
   */
  readonly hold: Exclusively = async (work) => {
    const ttlMs = TTL_REQUESTS * this.#link.requestTimeoutMs;
    // A holder that has died keeps it for as long as it lasts.
    const deadline = performance.now() + 2 * ttlMs;
    await this.#stream.ensure();
    while (performance.now() < deadline) {
      const lease = await this.#leases.take(NAME, ttlMs, async () => 0);
      if (lease) {
        // Not released after a failure: an update without an answer may still arrive.
        const result = await work(lease.signal);
        await lease.release();
        return result;
      }
      await pause(AGAIN_MS, this.#link.signal);
    }
    throw new SseError(
      'log-unavailable',
      'NATS: another instance replaces the epoch of the log and does not finish.',
    );
  };
}
