import { randomUUID } from 'node:crypto';
import type { Appended, LogHead, LogRecord, NewRecord } from '../log/index.js';
import type { SseError } from '../errors/index.js';
import { closed, expired, leaseLost, refused, timedOut, tooMuchPending } from './append-errors.js';
import type { AppendFailure } from './append-errors.js';
import type { NonceSource } from './identity.js';

/** The lease under which records are appended. */
export interface AppendLease {
  readonly key: string;
  readonly token: number;
  readonly signal: AbortSignal;
}

/** One call of `append`, until it is settled. */
export interface PendingAppend {
  readonly records: readonly NewRecord[];
  readonly nonces: readonly string[];
  readonly bytes: number;
  readonly lease: AppendLease | undefined;
  /** When it was made, in milliseconds since 1970. */
  readonly time: number;
  readonly deadline: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: SseError) => void;
}

/** The call of one batch. It can be repeated. */
export interface AppendCall {
  readonly batch: readonly PendingAppend[];
  /** Names the call, so that the engine carries it out once. */
  readonly key: string;
  /** Whether one of its tries was carried out, or may have been. */
  mayHaveRun: boolean;
  isLate: boolean;
  /** The latest deadline of its tries, by the engine's clock, in milliseconds. The carrier sets it. */
  latest: number;
}

/** The answer of an engine to a call. */
export type AppendAnswer =
  /** It is carried out, now or by an earlier try. */
  | { readonly outcome: 'ok'; readonly epoch: string; readonly from: number }
  /** It arrived after its deadline, at `time` of the engine's clock, in milliseconds. */
  | { readonly outcome: 'late'; readonly time: number }
  /** Nothing was appended. The carrier has prepared another try. */
  | { readonly outcome: 'again' }
  | { readonly outcome: 'lease-lost' | 'expired' };

/** An engine, as the queue of appends to one of its logs sees it. */
export interface AppendCarrier<Failure extends AppendFailure> {
  /** Tries once. Returns the failure, and does not throw it. */
  try(call: AppendCall, leftMs: number): Promise<AppendAnswer | Failure>;
  /** Makes a failure of an error that no try returns: an answer that is not the engine's. */
  failureOf(error: unknown): Failure;
  /** Called when the engine has acknowledged a position. */
  onAcknowledged(place: LogHead): void;
  /** Forgets the engine's clock, so that it is read again. */
  forgetClock(): void;
  /** Waits, in milliseconds, or until the store is closed. */
  pause(ms: number): Promise<void>;
}

// The most records of one call: the engine serves no other caller of the log meanwhile.
const BATCH_RECORDS = 500;
const BATCH_BYTES = 1_048_576;
const RETRY_MS = 50;
const LATE_MS = 5;
/** A try that ends so close to its deadline, or after it, counts as cut short by it. */
const CUT_MS = 5;

/**
 * The appends of one log, in order. Appends of one turn, or made during a call, go into one call. A call with an
 * unknown outcome is repeated under the same key, which the engine carries out once, until the first append in it is
 * out of time.
 */
export class AppendQueue<Failure extends AppendFailure> {
  readonly #engine: string;
  readonly #carrier: AppendCarrier<Failure>;
  readonly #settings: { readonly publishTimeoutMs: number; readonly maxPendingBytes: number };
  readonly #nonces: NonceSource;
  readonly #closed: AbortSignal;
  #pending: PendingAppend[] = [];
  #pendingBytes = 0;
  #isRunning = false;

  /**
   * @param engine - the name for messages, as `Redis`
   * @param options.closed - aborts when the store is closed. Later appends are refused
   */
  constructor(
    engine: string,
    carrier: AppendCarrier<Failure>,
    options: {
      settings: { readonly publishTimeoutMs: number; readonly maxPendingBytes: number };
      nonces: NonceSource;
      closed: AbortSignal;
    },
  ) {
    this.#engine = engine;
    this.#carrier = carrier;
    this.#settings = options.settings;
    this.#nonces = options.nonces;
    this.#closed = options.closed;
  }

  /** @throws SseError `publish-failed`, `lease-lost`, `closed` */
  append(records: readonly NewRecord[], lease: AppendLease | undefined): Promise<Appended> {
    const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0);
    const { maxPendingBytes, publishTimeoutMs } = this.#settings;
    if (this.#closed.aborted) {
      return Promise.reject(closed(true));
    }
    // An append above the bound is taken if no other is pending: otherwise it could never be.
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > maxPendingBytes) {
      return Promise.reject(tooMuchPending(this.#engine, this.#pendingBytes, maxPendingBytes));
    }
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#pending.push({
        records: records.map(copyOf),
        nonces: records.map(() => this.#nonces.next()),
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
        // Events that are published in the rest of this turn join the call.
        setImmediate(() => void this.#run());
      }
    });
  }

  async #run(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#takeBatch();
      const call = { batch, key: randomUUID(), mayHaveRun: false, isLate: false, latest: 0 };
      try {
        await this.#deliver(call);
      } catch (error) {
        // Not our answer: a proxy speaks another protocol, or the client library maps replies.
        rejectAll(batch, refused(this.#engine, this.#carrier.failureOf(error), false));
      }
    }
    this.#isRunning = false;
  }

  #takeBatch(): PendingAppend[] {
    const [first] = this.#pending as [PendingAppend];
    let records = 0;
    let bytes = 0;
    let count = 0;
    for (const next of this.#pending) {
      records += next.records.length;
      bytes += next.bytes;
      const isFull = count > 0 && (records > BATCH_RECORDS || bytes > BATCH_BYTES);
      if (isFull || next.lease?.token !== first.lease?.token) {
        break;
      }
      count += 1;
    }
    return this.#pending.splice(0, count);
  }

  /** Tries until the outcome of the call is known, or its time is over. */
  async #deliver(call: AppendCall): Promise<void> {
    const [{ deadline }] = call.batch as [PendingAppend];
    let last: Failure | undefined;
    for (;;) {
      const leftMs = deadline - performance.now();
      if (this.#isOver(call, leftMs, last)) {
        return;
      }
      const reply = await this.#carrier.try(call, leftMs);
      if (!(reply instanceof Error)) {
        if (await this.#takeAnswer(call, reply)) {
          return;
        }
        continue;
      }
      // A failure of a try that was cut short says less than the one before it.
      last = deadline - performance.now() < CUT_MS ? (last ?? reply) : reply;
      call.mayHaveRun ||= reply.mayHaveRun;
      if (!reply.isTransient) {
        rejectAll(call.batch, refused(this.#engine, reply, !call.mayHaveRun));
        return;
      }
      await this.#carrier.pause(Math.min(RETRY_MS, Math.max(0, deadline - performance.now())));
    }
  }

  /** Ends a call that must not be tried again. @returns whether it has ended */
  #isOver(call: AppendCall, leftMs: number, last: Failure | undefined): boolean {
    const { batch, mayHaveRun } = call;
    if (this.#closed.aborted) {
      rejectAll(batch, closed(!mayHaveRun));
      return true;
    }
    if (leftMs <= 0) {
      const why = last ?? (call.isLate ? TOO_LATE : undefined);
      this.#giveUp(call, timedOut(this.#engine, this.#settings.publishTimeoutMs, why, !mayHaveRun));
      return true;
    }
    if (batch[0]!.lease?.signal.aborted && !mayHaveRun) {
      rejectAll(batch, leaseLost(true));
      return true;
    }
    return false;
  }

  /** Takes the answer of the engine. @returns whether the call is settled */
  async #takeAnswer(call: AppendCall, answer: AppendAnswer): Promise<boolean> {
    switch (answer.outcome) {
      case 'late':
        // Earlier tries are too late as well when they arrive. This answer says that none was carried out.
        call.mayHaveRun &&= answer.time <= call.latest;
        call.isLate = true;
        this.#carrier.forgetClock();
        await this.#carrier.pause(LATE_MS);
        return false;
      case 'again':
        return false;
      case 'lease-lost':
        rejectAll(call.batch, leaseLost(!call.mayHaveRun));
        return true;
      case 'expired':
        rejectAll(call.batch, expired(!call.mayHaveRun));
        return true;
      case 'ok':
        this.#settle(call, answer);
        return true;
    }
  }

  /** Appends that have time left are tried with the next call, if the log certainly lacks them. */
  #giveUp({ batch, mayHaveRun }: AppendCall, error: SseError): void {
    const now = performance.now();
    const isSettled = ({ deadline }: PendingAppend) => mayHaveRun || deadline <= now;
    rejectAll(batch.filter(isSettled), error);
    this.#pending.unshift(...batch.filter((pending) => !isSettled(pending)));
  }

  #settle({ batch }: AppendCall, { epoch, from }: { epoch: string; from: number }): void {
    const [{ time }] = batch as [PendingAppend];
    let last = from - 1;
    for (const { records, nonces, resolve } of batch) {
      const first = last + 1;
      last += records.length;
      resolve({
        epoch,
        records: records.map((record, n) => appendedOf(record, first + n, nonces[n]!, time)),
      });
    }
    this.#carrier.onAcknowledged({ epoch, sequence: last, nonce: batch.at(-1)!.nonces.at(-1)! });
  }
}

const TOO_LATE: AppendFailure = Object.assign(new Error('it arrived too late'), {
  mayHaveRun: false,
  isTransient: true,
  hint: '',
});

function rejectAll(batch: readonly PendingAppend[], error: SseError): void {
  for (const { reject } of batch) {
    reject(error);
  }
}

// Field by field: a spread costs several times as much, and this runs for each event.
function copyOf({ topic, type, data, isJson }: NewRecord): NewRecord {
  return type === undefined ? { topic, data, isJson } : { topic, type, data, isJson };
}

function appendedOf(record: NewRecord, sequence: number, nonce: string, time: number): LogRecord {
  const { topic, type, data, isJson } = record;
  return type === undefined
    ? { sequence, nonce, topic, data, isJson, time }
    : { sequence, nonce, topic, type, data, isJson, time };
}

/** Returns the approximate bytes of a record in the engine and on its way there. */
function sizeOf({ topic, type = '', data }: NewRecord): number {
  return 100 + topic.length + type.length + Buffer.byteLength(data);
}
