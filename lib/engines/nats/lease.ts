import { randomUUID } from 'node:crypto';
import { LeaseTerm } from '../index.js';
import { SseError } from '../../errors/index.js';
import type { Lease } from '../../log/index.js';
import { isWrongLastSequence } from './failure.js';
import { readAmount, readNumber } from './message.js';
import type { StreamMessage } from './message.js';
import type { NatsContext } from './nats.event-log.js';
import { Refusal } from './appends.js';
import type { ServerClock } from './server-clock.js';
import type { NatsStream } from './stream.js';
import { subjectTokenOf } from './subject.js';

/** The newest message of a lease's subject: its holder, and its end. */
interface Holding {
  readonly holder: string;
  readonly token: number;
  readonly ttlMs: number;
  /** A claim has no holder who could release it, and no token that must be remembered. */
  readonly state: 'held' | 'released' | 'claimed';
  /** The revision of the message. The next write must name it. */
  readonly revision: number;
  readonly time: number;
}

export const LEASE_HEADER = 'Sse-Lease';

/**
 * Leases, in a stream that keeps the newest message of each subject. A write names the message before it, or is
 * refused.
 */
export class Leases {
  readonly #context: NatsContext;
  readonly #stream: NatsStream;
  readonly #clock: ServerClock;
  readonly #base: string;
  readonly #held = new Set<NatsLease>();

  constructor(context: NatsContext, stream: NatsStream, clock: ServerClock, base: string) {
    this.#context = context;
    this.#stream = stream;
    this.#clock = clock;
    this.#base = base;
  }

  /** @param above - a token that was given before, maybe by an earlier stream */
  async take(name: string, ttlMs: number, above: () => Promise<number>): Promise<NatsLease | undefined> {
    const subject = this.#subjectOf(name);
    const last = await this.read(subject);
    const now = await this.#clock.now();
    if (last && last.state !== 'released' && now < last.time + last.ttlMs) {
      return undefined;
    }
    // Higher than all tokens before, also if their messages were swept or deleted with the stream.
    const token = Math.max(last?.token ?? 0, await above(), Math.floor(now)) + 1;
    const askedAt = performance.now();
    const taken = { holder: randomUUID(), token, ttlMs, state: 'held' } as const;
    const revision = await this.write(subject, taken, last?.revision ?? 0);
    if (revision === undefined) {
      // Another process was faster.
      return undefined;
    }
    const end = () => void this.#held.delete(lease);
    const lease = new NatsLease(this, subject, { ...taken, revision, time: 0 }, askedAt, end);
    this.#held.add(lease);
    return lease;
  }

  /** Takes a name that nothing releases. @returns whether it was free */
  async claim(name: string, ttlMs: number): Promise<boolean> {
    // A lease of the same name is another thing.
    const subject = this.#subjectOf(`claim:${name}`);
    const last = await this.read(subject);
    if (last && (await this.#clock.now()) < last.time + last.ttlMs) {
      return false;
    }
    const claim: Omit<Holding, 'revision' | 'time'> = {
      holder: randomUUID(),
      token: 0,
      ttlMs,
      state: 'claimed',
    };
    // A claim whose answer was lost, and that is sent again, counts as taken by another.
    return (await this.write(subject, claim, last?.revision ?? 0)) !== undefined;
  }

  /** Returns the highest token of a name. Its holder, if there is one, may append. */
  async fenceOf(name: string): Promise<number> {
    const last = await this.read(this.#subjectOf(name));
    return last ? last.token + (last.state === 'released' ? 1 : 0) : 0;
  }

  /** Deletes leases that have been free for a long time. */
  async sweep(staleMs: number): Promise<void> {
    const now = await this.#clock.now();
    const filter = `${this.#base}.*`;
    const reading = {
      from: 1,
      to: Infinity,
      limit: 10_000,
      maxBytes: Number.MAX_SAFE_INTEGER,
      newestOnly: true,
      headersOnly: true,
    };
    for (const message of await this.#stream.read({ ...reading, filter })) {
      const holding = holdingOf(message);
      const keptMs = holding.state === 'claimed' ? 0 : staleMs;
      if (holding.time + holding.ttlMs + keptMs < now) {
        await this.#stream.purge({ filter: message.subject, seq: message.sequence + 1 });
      }
    }
  }

  async releaseAll(): Promise<void> {
    // Leases that cannot be released expire.
    await Promise.allSettled(Array.from(this.#held, (lease) => lease.release()));
  }

  /** Reads the newest message of a subject. */
  async read(subject: string): Promise<Holding | undefined> {
    const message = await this.#stream.message({ last_by_subj: subject });
    return message && holdingOf(message);
  }

  /** Writes a message. @returns its revision; undefined if another message was written to the subject first */
  async write(
    subject: string,
    { holder, token, ttlMs, state }: Omit<Holding, 'revision' | 'time'>,
    expected: number,
  ): Promise<number | undefined> {
    const { publisher } = this.#context;
    const value = [holder, token, ttlMs, state].join(' ');
    const headers = [
      [LEASE_HEADER, value],
      ['Nats-Expected-Last-Subject-Sequence', `${expected}`],
    ] as const;
    const message = { subject, data: new Uint8Array(), headers };
    try {
      return (await publisher.publish(this.#stream.name, message, performance.now())).sequence;
    } catch (error) {
      if (error instanceof Refusal && isWrongLastSequence(error.code)) {
        return undefined;
      }
      throw new SseError('log-unavailable', `The lease could not be written: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #subjectOf(name: string): string {
    return `${this.#base}.${subjectTokenOf(name)}`;
  }
}

/** Reads a lease. A message of another program counts as a free lease, on which the next write is made. */
function holdingOf(message: StreamMessage): Holding {
  const [holder = '', token, ttlMs, state = ''] = message.header(LEASE_HEADER).split(' ');
  const { sequence: revision, time } = message;
  const known = { token: readNumber(token), ttlMs: readAmount(ttlMs) };
  if (known.token === undefined || known.ttlMs === undefined || !isState(state)) {
    return { holder: '', token: 0, ttlMs: 0, state: 'released', revision, time };
  }
  return { holder, token: known.token, ttlMs: known.ttlMs, state, revision, time };
}

function isState(text: string): text is Holding['state'] {
  return text === 'held' || text === 'released' || text === 'claimed';
}

class NatsLease implements Lease {
  readonly token: number;
  readonly #leases: Leases;
  readonly #subject: string;
  readonly #term: LeaseTerm;
  #holding: Holding;
  /** The pending write. Each write names the one before it. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(leases: Leases, subject: string, holding: Holding, askedAt: number, onEnd: () => void) {
    this.token = holding.token;
    this.#leases = leases;
    this.#subject = subject;
    this.#holding = holding;
    this.#term = new LeaseTerm(holding.ttlMs, askedAt, onEnd);
  }

  get signal(): AbortSignal {
    return this.#term.signal;
  }

  renew(): Promise<boolean> {
    return this.#inTurn(() => this.#renew());
  }

  async release(): Promise<void> {
    await this.#inTurn(() => this.#release());
  }

  async #renew(): Promise<boolean> {
    while (!this.#term.hasEnded) {
      const askedAt = performance.now();
      if (await this.#write(false)) {
        this.#term.prolong(askedAt);
        if (this.#term.hasEnded) {
          // It ended here while the server prolonged it: other processes would wait for it in vain.
          await this.#write(true);
        }
        return !this.#term.hasEnded;
      }
      if (!(await this.#adopt())) {
        this.#term.end();
      }
    }
    return false;
  }

  async #release(): Promise<void> {
    if (this.#term.hasEnded) {
      return;
    }
    this.#term.end();
    if (!(await this.#write(true)) && (await this.#adopt())) {
      await this.#write(true);
    }
  }

  /** Returns whether the newest message is our own, from an attempt whose answer was lost. */
  async #adopt(): Promise<boolean> {
    const last = await this.#leases.read(this.#subject);
    if (last && last.token === 0) {
      // A message of another program. If another holder came in between, it has fenced the log.
      this.#holding = { ...this.#holding, revision: last.revision };
      return true;
    }
    if (last?.holder !== this.#holding.holder || last.state !== 'held') {
      return false;
    }
    this.#holding = last;
    return true;
  }

  async #write(isReleased: boolean): Promise<boolean> {
    const revision = await this.#leases.write(
      this.#subject,
      { ...this.#holding, state: isReleased ? 'released' : 'held' },
      this.#holding.revision,
    );
    if (revision === undefined) {
      return false;
    }
    this.#holding = { ...this.#holding, revision };
    return true;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    // The caller gets the failure by `result`. The next write only waits for the end.
    this.#turn = result.catch(() => undefined);
    return result;
  }
}
