import { randomUUID } from 'node:crypto';
import { newEpoch } from '../log/index.js';
import type { Appended, LogRecord, NewRecord, NonceSource } from '../log/index.js';
import { SseError } from '../sse.errors.js';
import { failureOf, RedisFailure } from './redis.failure.js';
import type { LogKeys, RedisKeys } from './redis.keys.js';
import type { RedisLink } from './redis.link.js';
import { argumentsOf } from './redis.replies.js';
import { APPEND } from './redis.scripts.js';
import type { RedisSettings } from './redis.options.js';

/** What the appends of one log have in common. */
export interface AppendTarget {
  readonly keys: LogKeys;
  /** Of a named log: the epoch without which it is another one. */
  readonly epoch?: string;
  readonly maxEvents: number;
  readonly maxAgeMs?: number;
  readonly ttlMs?: number;
}

/** What appends need of the store. */
export interface AppendContext {
  readonly commands: RedisLink;
  readonly keys: RedisKeys;
  readonly settings: RedisSettings;
  readonly nonces: NonceSource;
  /** Told after each try, with why it did not work. */
  readonly watch: { onOutcome(failure: RedisFailure | undefined): void };
  /** Aborts when the store is closed: nothing more is taken. */
  readonly closed: AbortSignal;
}

/** The lease under which records are appended. */
export interface AppendLease {
  readonly key: string;
  readonly token: number;
  readonly signal: AbortSignal;
}

/** One call of `append`, until it is settled. */
interface Waiting {
  readonly records: readonly NewRecord[];
  readonly nonces: readonly string[];
  readonly args: readonly string[];
  readonly bytes: number;
  readonly lease: AppendLease | undefined;
  readonly time: number;
  readonly deadline: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: SseError) => void;
}

// One script call: long enough to be worth its way, short enough that Redis serves others in between.
const BATCH_RECORDS = 500;
const BATCH_BYTES = 1_048_576;
const RETRY_MS = 50;

/**
 * The appends of one log, in order: what is asked for in one turn, or while a call is under way, goes
 * out in one. A call whose outcome is unknown is made again under the same key, which Redis carries out
 * once, until the time of the first append in it has run out.
 */
export class RedisAppends {
  readonly #target: AppendTarget;
  readonly #context: AppendContext;
  #waiting: Waiting[] = [];
  #pendingBytes = 0;
  #isRunning = false;

  constructor(target: AppendTarget, context: AppendContext) {
    this.#target = target;
    this.#context = context;
  }

  /** @throws SseError `publish-failed`, `lease-lost`, `closed` */
  append(records: readonly NewRecord[], lease: AppendLease | undefined): Promise<Appended> {
    const nonces = records.map(() => this.#context.nonces.next());
    const args = records.flatMap((record, index) => argumentsOf(record, nonces[index]!));
    const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0);
    const { maxPendingBytes, publishTimeoutMs } = this.#context.settings;
    if (this.#context.closed.aborted) {
      return Promise.reject(closed(true));
    }
    // One that is larger than the bound is taken where nothing else waits: it would never be otherwise.
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > maxPendingBytes) {
      return Promise.reject(
        new SseError(
          'publish-failed',
          `${this.#pendingBytes} bytes of events wait for Redis already, and maxPendingBytes is ${maxPendingBytes}: ` +
            'the event was not published. Publish more slowly, or look whether Redis answers.',
          { isOutcomeKnown: true },
        ),
      );
    }
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        records: records.map((record) => ({ ...record })),
        nonces,
        args,
        bytes,
        lease,
        time: Date.now(),
        deadline: performance.now() + publishTimeoutMs,
        resolve: (appended) => {
          this.#pendingBytes -= bytes;
          resolve(appended);
        },
        reject: (error) => {
          this.#pendingBytes -= bytes;
          reject(error);
        },
      });
      if (!this.#isRunning) {
        this.#isRunning = true;
        // What is published in the rest of this turn goes along.
        setImmediate(() => void this.#run());
      }
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#deliver(batch);
      } catch (error) {
        // No answer of ours: what is in front of Redis has another protocol, or the client maps replies.
        rejectAll(batch, refused(failureOf(error), false));
      }
    }
    this.#isRunning = false;
  }

  #takeBatch(): Waiting[] {
    const [first] = this.#waiting as [Waiting];
    let records = 0;
    let bytes = 0;
    let count = 0;
    for (const next of this.#waiting) {
      records += next.records.length;
      bytes += next.bytes;
      const isFull = count > 0 && (records > BATCH_RECORDS || bytes > BATCH_BYTES);
      if (isFull || next.lease?.token !== first.lease?.token) {
        break;
      }
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Tries until the batch is settled one way or the other. */
  async #deliver(batch: readonly Waiting[]): Promise<void> {
    const [{ deadline, lease }] = batch as [Waiting];
    const call = this.#callOf(batch);
    let mayHaveRun = false;
    let last: RedisFailure | undefined;
    for (;;) {
      const leftMs = deadline - performance.now();
      if (this.#context.closed.aborted) {
        rejectAll(batch, closed(!mayHaveRun));
        return;
      }
      if (leftMs <= 0) {
        this.#giveUp(batch, this.#timedOut(last, !mayHaveRun), mayHaveRun);
        return;
      }
      if (lease?.signal.aborted && !mayHaveRun) {
        rejectAll(batch, leaseLost(true));
        return;
      }
      const reply = await this.#try(call, Math.min(leftMs, this.#context.settings.commandTimeoutMs));
      if (!(reply instanceof RedisFailure)) {
        this.#settle(batch, reply as [string, string, string], !mayHaveRun);
        return;
      }
      last = reply;
      mayHaveRun ||= reply.mayHaveRun;
      if (!reply.isTransient) {
        rejectAll(batch, refused(reply, !mayHaveRun));
        return;
      }
      await this.#context.commands.pause(Math.min(RETRY_MS, Math.max(0, deadline - performance.now())));
    }
  }

  /** Those whose own time is not over yet are tried again with the next, if nothing of them can have been taken. */
  #giveUp(batch: readonly Waiting[], error: SseError, mayHaveRun: boolean): void {
    const now = performance.now();
    const isOver = ({ deadline }: Waiting) => mayHaveRun || deadline <= now;
    rejectAll(batch.filter(isOver), error);
    this.#waiting.unshift(...batch.filter((waiting) => !isOver(waiting)));
  }

  async #try({ keys, args }: { keys: string[]; args: string[] }, timeoutMs: number): Promise<unknown> {
    let failure: RedisFailure | undefined;
    try {
      return await this.#context.commands.run(APPEND, keys, args, timeoutMs);
    } catch (error) {
      failure = error instanceof RedisFailure ? error : failureOf(error);
      return failure;
    } finally {
      this.#context.watch.onOutcome(failure);
    }
  }

  #callOf(batch: readonly Waiting[]): { keys: string[]; args: string[] } {
    const { keys, epoch, maxEvents, maxAgeMs = 0, ttlMs = 0 } = this.#target;
    const [{ lease, time }] = batch as [Waiting];
    return {
      keys: [keys.events, keys.meta, this.#context.keys.publish(randomUUID()), ...(lease ? [lease.key] : [])],
      args: [
        epoch === undefined ? newEpoch() : '',
        epoch ?? '',
        String(maxEvents),
        String(maxAgeMs),
        String(ttlMs),
        String(2 * this.#context.settings.publishTimeoutMs),
        lease ? String(lease.token) : '',
        String(time),
        ...batch.flatMap(({ args }) => args),
      ],
    };
  }

  #settle(
    batch: readonly Waiting[],
    [outcome, epoch, from]: readonly [string, string, string],
    isOutcomeKnown: boolean,
  ): void {
    if (outcome === 'lease-lost') {
      rejectAll(batch, leaseLost(isOutcomeKnown));
      return;
    }
    if (outcome === 'expired') {
      rejectAll(batch, expired(isOutcomeKnown));
      return;
    }
    const [{ time }] = batch as [Waiting];
    let sequence = Number(from);
    for (const { records, nonces, resolve } of batch) {
      const appended: LogRecord[] = [];
      for (const [index, record] of records.entries()) {
        appended.push({ ...record, sequence, nonce: nonces[index]!, time });
        sequence += 1;
      }
      resolve({ epoch, records: appended });
    }
  }

  #timedOut(last: RedisFailure | undefined, isOutcomeKnown: boolean): SseError {
    return new SseError(
      'publish-failed',
      `Redis did not take the event within ${this.#context.settings.publishTimeoutMs} ms` +
        `${last ? ` (${last.message})` : ''}: ${isOutcomeKnown ? 'it was not published' : 'it may have been published or not'}.`,
      { cause: last, isOutcomeKnown },
    );
  }
}

function rejectAll(batch: readonly Waiting[], error: SseError): void {
  for (const { reject } of batch) {
    reject(error);
  }
}

/** About what a record takes in Redis and on the way there. */
function sizeOf({ topic, type = '', data }: NewRecord): number {
  return 100 + topic.length + type.length + Buffer.byteLength(data);
}

function refused(failure: RedisFailure, isOutcomeKnown: boolean): SseError {
  const hint = failure.reply === 'OOM' ? ' Raise its maxmemory, or lower maxEvents.' : '';
  return new SseError('publish-failed', `Redis refused the event: ${failure.message}.${hint}`, {
    cause: failure,
    isOutcomeKnown,
  });
}

export function leaseLost(isOutcomeKnown: boolean): SseError {
  const what = isOutcomeKnown ? 'nothing was appended' : 'an earlier try may have been carried out';
  return new SseError('lease-lost', `The lease is over: ${what}.`, { isOutcomeKnown });
}

export function expired(isOutcomeKnown: boolean): SseError {
  return new SseError('closed', 'The log is closed: it has expired.', { isOutcomeKnown });
}

export function closed(isOutcomeKnown: boolean): SseError {
  return new SseError('closed', 'The log is closed: the app is shutting down.', { isOutcomeKnown });
}
