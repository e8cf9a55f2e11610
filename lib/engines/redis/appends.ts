import { randomUUID } from 'node:crypto';
import { newEpoch } from '../index.js';
import type { Appended, LogHead, LogRecord, NewRecord } from '../../log/index.js';
import type { NonceSource } from '../index.js';
import { SseError } from '../../errors/index.js';
import { closed, expired, leaseLost, refused, timedOut, tooMuchPending } from './append-errors.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys, RedisKeys } from './keys.js';
import type { RedisLink } from './link.js';
import { FormerEpochs } from './former-epochs.js';
import type { RedisKnowledge } from './knowledge.js';
import { argumentsOf } from './replies.js';
import { APPEND, REPLACE_EPOCH } from './scripts.js';
import type { RedisSettings } from './options.js';

/** The target of the appends of one log. */
export interface AppendTarget {
  readonly keys: LogKeys;
  /** For a named log: the epoch that it must have. */
  readonly epoch?: string;
  readonly maxEvents: number;
  readonly maxAgeMs?: number;
  readonly ttlMs?: number;
  /** Called with the newest position that Redis has acknowledged. */
  readonly onAcknowledged: (place: LogHead) => void;
}

/** The store, as appends see it. */
export interface AppendContext {
  readonly commands: RedisLink;
  readonly keys: RedisKeys;
  readonly settings: RedisSettings;
  readonly nonces: NonceSource;
  /** What this process knows of the app's log. */
  readonly knowledge: RedisKnowledge;
  /** Called after each try, with the failure if there was one. */
  readonly watch: { onOutcome(failure: RedisFailure | undefined): void };
  /** Aborts when the store is closed. Later appends are refused. */
  readonly closed: AbortSignal;
}

/** The lease under which records are appended. */
export interface AppendLease {
  readonly key: string;
  readonly token: number;
  readonly signal: AbortSignal;
}

/** One call of `append`, until it is settled. */
interface PendingAppend {
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

// The most records of one script call: Redis serves no other client meanwhile.
const BATCH_RECORDS = 500;
const BATCH_BYTES = 1_048_576;
const RETRY_MS = 50;
const LATE_MS = 5;
/** How long a key outlives the time in which it can be needed: reading Redis's clock takes a round trip. */
const KEPT_MS = 1_000;
const TOO_LATE = new RedisFailure('it arrived too late', { reply: 'LATE', mayHaveRun: false });

/** A reply of the script: see `APPEND`. */
type Answer = readonly [outcome: string, epoch: string, third: string];

/** The call of one batch. It can be repeated. */
interface AppendCall {
  readonly batch: readonly PendingAppend[];
  /** The key that tells whether Redis has carried it out. */
  readonly publishKey: string;
  /** Whether one of its tries was carried out, or may have been. */
  mayHaveRun: boolean;
  isLate: boolean;
  /** The latest deadline of its tries, by any clock. */
  latest: number;
}

/**
 * The appends of one log, in order. Appends of one turn, or made during a call, go into one call. A call with an
 * unknown outcome is repeated under the same key, which Redis carries out once, until the first append in it is out of
 * time.
 */
export class RedisAppends {
  readonly #target: AppendTarget;
  readonly #context: AppendContext;
  #pending: PendingAppend[] = [];
  #pendingBytes = 0;
  /** The newest sequence that Redis has acknowledged. */
  #acknowledged = 0;
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
    // An append above the bound is taken if no other is pending: otherwise it could never be.
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > maxPendingBytes) {
      return Promise.reject(tooMuchPending(this.#pendingBytes, maxPendingBytes));
    }
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#pending.push({
        records: records.map(copyOf),
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
        // Events that are published in the rest of this turn join the call.
        setImmediate(() => void this.#run());
      }
    });
  }

  async #run(): Promise<void> {
    while (this.#pending.length > 0) {
      const call = this.#callOf(this.#takeBatch());
      try {
        await this.#deliver(call);
      } catch (error) {
        // Not our script's answer: a proxy speaks another protocol, or the client maps replies.
        rejectAll(call.batch, refused(failureOf(error), false));
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
    let last: RedisFailure | undefined;
    for (;;) {
      const leftMs = deadline - performance.now();
      if (this.#isOver(call, leftMs, last)) {
        return;
      }
      const reply = await this.#try(call, leftMs);
      if (!(reply instanceof RedisFailure)) {
        if (await this.#takeAnswer(call, reply as Answer)) {
          return;
        }
        continue;
      }
      last = reply;
      call.mayHaveRun ||= reply.mayHaveRun;
      if (!reply.isTransient) {
        rejectAll(call.batch, refused(reply, !call.mayHaveRun));
        return;
      }
      await this.#context.commands.pause(Math.min(RETRY_MS, Math.max(0, deadline - performance.now())));
    }
  }

  /** Ends a call that must not be tried again. @returns whether it has ended */
  #isOver(call: AppendCall, leftMs: number, last: RedisFailure | undefined): boolean {
    const { batch, mayHaveRun } = call;
    if (this.#context.closed.aborted) {
      rejectAll(batch, closed(!mayHaveRun));
      return true;
    }
    if (leftMs <= 0) {
      const why = last ?? (call.isLate ? TOO_LATE : undefined);
      this.#giveUp(call, timedOut(this.#context.settings.publishTimeoutMs, why, !mayHaveRun));
      return true;
    }
    if (batch[0]!.lease?.signal.aborted && !mayHaveRun) {
      rejectAll(batch, leaseLost(true));
      return true;
    }
    return false;
  }

  /** Takes the answer of the script. @returns whether the call is settled */
  async #takeAnswer(call: AppendCall, answer: Answer): Promise<boolean> {
    switch (answer[0]) {
      case 'late':
        // Earlier tries are too late as well when they arrive. This answer says that none was carried out.
        call.mayHaveRun &&= Number(answer[1]) <= call.latest;
        call.isLate = true;
        this.#context.commands.forgetClock();
        await this.#context.commands.pause(LATE_MS);
        return false;
      case 'broken':
        await this.#mend(answer);
        return false;
      case 'again':
        return false;
      default:
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

  async #try(call: AppendCall, leftMs: number): Promise<unknown> {
    const { commandTimeoutMs } = this.#context.settings;
    let failure: RedisFailure | undefined;
    try {
      const argsOf = (deadline: string) => {
        call.latest = Math.max(call.latest, Number(deadline));
        return this.#argsOf(call, deadline);
      };
      const timeoutMs = Math.min(leftMs, commandTimeoutMs);
      return await this.#context.commands.runBefore(APPEND, this.#keysOf(call), argsOf, {
        leftMs,
        timeoutMs,
      });
    } catch (error) {
      failure = error instanceof RedisFailure ? error : failureOf(error);
      return failure;
    } finally {
      this.#context.watch.onOutcome(failure);
    }
  }

  /** Gives the log a new epoch: the stream has entries past its head that look like its own. */
  async #mend([, epoch, former]: Answer): Promise<void> {
    const { commands, knowledge } = this.#context;
    const { events, meta } = this.#target.keys;
    const known = FormerEpochs.parse(former).merge(knowledge.former).with(epoch);
    try {
      await commands.run(REPLACE_EPOCH, [events, meta], [epoch, newEpoch(), String(known)]);
    } catch {
      // The next try finds the same state, and reports a failure.
      await commands.pause(RETRY_MS);
    }
  }

  #callOf(batch: readonly PendingAppend[]): AppendCall {
    const publishKey = this.#context.keys.publish(randomUUID());
    return { batch, publishKey, mayHaveRun: false, isLate: false, latest: 0 };
  }

  #keysOf({ batch, publishKey }: AppendCall): string[] {
    const { events, meta } = this.#target.keys;
    const [{ lease }] = batch as [PendingAppend];
    return [events, meta, publishKey, ...(lease ? [lease.key] : [])];
  }

  #argsOf({ batch }: AppendCall, deadline: string): string[] {
    const { epoch, maxEvents, maxAgeMs = 0, ttlMs = 0 } = this.#target;
    const { settings, knowledge } = this.#context;
    const [{ lease, time }] = batch as [PendingAppend];
    return [
      epoch === undefined ? newEpoch() : '',
      epoch ?? '',
      String(maxEvents),
      String(maxAgeMs),
      String(ttlMs),
      // A replica may be ahead of the master that set it, and a try be carried out by the clock of one that is
      // behind.
      String(settings.publishTimeoutMs + 2 * settings.clockSkewMs + KEPT_MS),
      lease ? String(lease.token) : '',
      String(time),
      deadline,
      epoch === undefined ? knowledge.formerOfNext() : String(this.#acknowledged),
      ...batch.flatMap(({ args }) => args),
    ];
  }

  #settle(call: AppendCall, [outcome, epoch, from]: Answer): void {
    const { batch, mayHaveRun } = call;
    if (outcome === 'lease-lost') {
      rejectAll(batch, leaseLost(!mayHaveRun));
      return;
    }
    if (outcome === 'expired') {
      rejectAll(batch, expired(!mayHaveRun));
      return;
    }
    const [{ time }] = batch as [PendingAppend];
    let last = Number(from) - 1;
    for (const { records, nonces, resolve } of batch) {
      const first = last + 1;
      last += records.length;
      resolve({
        epoch,
        records: records.map((record, n) => appendedOf(record, first + n, nonces[n]!, time)),
      });
    }
    this.#acknowledged = Math.max(this.#acknowledged, last);
    this.#target.onAcknowledged({ epoch, sequence: last, nonce: batch.at(-1)!.nonces.at(-1)! });
  }
}

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

/** Returns the approximate bytes of a record in Redis and on its way there. */
function sizeOf({ topic, type = '', data }: NewRecord): number {
  return 100 + topic.length + type.length + Buffer.byteLength(data);
}
