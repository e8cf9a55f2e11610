import { AppendQueue, FormerEpochs, newEpoch } from '../index.js';
import type {
  AppendAnswer,
  AppendCall,
  AppendCarrier,
  AppendLease,
  LogKnowledge,
  NonceSource,
  PendingAppend,
} from '../index.js';
import type { Appended, LogHead, NewRecord } from '../../log/index.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys, RedisKeys } from './keys.js';
import type { RedisLink } from './link.js';
import type { RedisSettings } from './options.js';
import { argumentsOf } from './replies.js';
import { APPEND, REPLACE_EPOCH } from './scripts.js';

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
  readonly knowledge: LogKnowledge;
  /** Called after each try, with the failure if there was one. */
  readonly watch: { onOutcome(failure: RedisFailure | undefined): void };
  /** Aborts when the store is closed. Later appends are refused. */
  readonly closed: AbortSignal;
}

const RETRY_MS = 50;
/** How long a key outlives the time in which it can be needed: reading Redis's clock takes a round trip. */
const KEPT_MS = 1_000;

/** A reply of the script: see `APPEND`. */
type Reply = readonly [outcome: string, epoch: string, third: string];

/** The appends of one log on Redis, each call under a key that Redis keeps. */
export class RedisAppends implements AppendCarrier<RedisFailure> {
  readonly #target: AppendTarget;
  readonly #context: AppendContext;
  readonly #queue: AppendQueue<RedisFailure>;
  /** The newest sequence that Redis has acknowledged. */
  #acknowledged = 0;

  constructor(target: AppendTarget, context: AppendContext) {
    this.#target = target;
    this.#context = context;
    this.#queue = new AppendQueue('Redis', this, context);
  }

  /** @throws SseError `publish-failed`, `lease-lost`, `closed` */
  append(records: readonly NewRecord[], lease: AppendLease | undefined): Promise<Appended> {
    return this.#queue.append(records, lease);
  }

  async try(call: AppendCall, leftMs: number): Promise<AppendAnswer | RedisFailure> {
    const reply = await this.#send(call, leftMs);
    return reply instanceof RedisFailure ? reply : this.#answerOf(reply as Reply);
  }

  failureOf(error: unknown): RedisFailure {
    return failureOf(error);
  }

  onAcknowledged(place: LogHead): void {
    this.#acknowledged = Math.max(this.#acknowledged, place.sequence);
    this.#target.onAcknowledged(place);
  }

  forgetClock(): void {
    this.#context.commands.forgetClock();
  }

  pause(ms: number): Promise<void> {
    return this.#context.commands.pause(ms);
  }

  async #send(call: AppendCall, leftMs: number): Promise<unknown> {
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

  async #answerOf(reply: Reply): Promise<AppendAnswer> {
    switch (reply[0]) {
      case 'late':
        return { outcome: 'late', time: Number(reply[1]) };
      case 'broken':
        await this.#mend(reply);
        return { outcome: 'again' };
      case 'again':
      case 'lease-lost':
      case 'expired':
        return { outcome: reply[0] };
      default:
        return { outcome: 'ok', epoch: reply[1], from: Number(reply[2]) };
    }
  }

  /** Gives the log a new epoch: the stream has entries past its head that look like its own. */
  async #mend([, epoch, former]: Reply): Promise<void> {
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

  #keysOf({ batch, key }: AppendCall): string[] {
    const { events, meta } = this.#target.keys;
    const [{ lease }] = batch as [PendingAppend];
    return [events, meta, this.#context.keys.publish(key), ...(lease ? [lease.key] : [])];
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
      ...batch.flatMap(({ records, nonces }) =>
        records.flatMap((record, index) => argumentsOf(record, nonces[index]!)),
      ),
    ];
  }
}
