import { AppendQueue, newEpoch } from '../index.js';
import type { AppendAnswer, AppendCall, AppendCarrier, AppendLease, PendingAppend } from '../index.js';
import type { Appended, LogHead, NewRecord } from '../../log/index.js';
import type { PostgresContext } from './context.js';
import { failureOf, PostgresFailure } from './failure.js';
import { sentRecord } from './replies.js';

/** The target of the appends of one log. */
export interface AppendTarget {
  /** The name as it is stored; empty for the app's log. */
  readonly name: string;
  /** Of a named log: the id that it must have. */
  readonly id?: string;
  readonly maxEvents: number;
}

/** A reply of the append function. */
type Reply = readonly [outcome: string, second: string, third: string, id: string];

/** A place in a log that is below all events of a call. A call that was carried out is found above it. */
interface Bound {
  readonly id: string;
  readonly sequence: number;
}

/**
 * The appends of one log on PostgreSQL. A call that is tried again is found by the nonce of its first event, so that it
 * is carried out once.
 */
export class PostgresAppends implements AppendCarrier<PostgresFailure> {
  readonly #target: AppendTarget;
  readonly #context: PostgresContext;
  readonly #queue: AppendQueue<PostgresFailure>;
  readonly #bounds = new WeakMap<AppendCall, Bound>();
  /** The newest acknowledged place. */
  #acknowledged: Bound | undefined;
  /** The id of the log that gave the last answer. */
  #answeredBy = '';

  constructor(target: AppendTarget, context: PostgresContext) {
    this.#target = target;
    this.#context = context;
    this.#queue = new AppendQueue('PostgreSQL', this, context);
  }

  /** @throws SseError `publish-failed`, `lease-lost`, `closed` */
  append(records: readonly NewRecord[], lease: AppendLease | undefined): Promise<Appended> {
    return this.#queue.append(records, lease);
  }

  async try(call: AppendCall, leftMs: number): Promise<AppendAnswer | PostgresFailure> {
    const { commandTimeoutMs } = this.#context.settings;
    let failure: PostgresFailure | undefined;
    try {
      const bound = this.#boundOf(call);
      const argsOf = (deadline: string) => {
        call.latest = Math.max(call.latest, Number(deadline));
        return this.#argsOf(call, bound, deadline);
      };
      const timeoutMs = Math.min(leftMs, commandTimeoutMs);
      const reply = await this.#context.commands.callBefore('append', argsOf, { leftMs, timeoutMs });
      return this.#answerOf(call, JSON.parse(reply ?? '') as Reply);
    } catch (error) {
      failure = failureOf(error);
      if (failure.isOfTakenPlace) {
        return await this.#mend(failure);
      }
      return failure;
    } finally {
      this.#context.watch.onOutcome(failure);
    }
  }

  failureOf(error: unknown): PostgresFailure {
    return failureOf(error);
  }

  onAcknowledged(place: LogHead): void {
    const id = this.#answeredBy;
    this.#acknowledged = { id, sequence: place.sequence };
    if (this.#target.id === undefined) {
      this.#context.knowledge.acknowledge(place);
    }
    this.#context.reader.acknowledge(id, place);
    this.#context.notifier.notify(id);
  }

  forgetClock(): void {
    this.#context.commands.forgetClock();
  }

  pause(ms: number): Promise<void> {
    return this.#context.commands.pause(ms);
  }

  /** Returns the bound of a call. It stays the same for all of its tries. */
  #boundOf(call: AppendCall): Bound {
    const known = this.#bounds.get(call);
    if (known) {
      return known;
    }
    const bound = this.#newestKnown();
    this.#bounds.set(call, bound);
    return bound;
  }

  #newestKnown(): Bound {
    const { reader } = this.#context;
    const followed = this.#target.id === undefined ? reader.appLog : reader.get(this.#target.id);
    const read = followed && { id: followed.keys.id, sequence: followed.head.sequence };
    const own = this.#acknowledged;
    if (own && read && own.id === read.id) {
      return own.sequence > read.sequence ? own : read;
    }
    return read ?? own ?? { id: this.#target.id ?? '', sequence: 0 };
  }

  #answerOf(call: AppendCall, [outcome, second, third, id]: Reply): AppendAnswer {
    switch (outcome) {
      case 'late':
        return { outcome, time: Number(second) };
      case 'lease-lost':
      case 'expired':
        return { outcome };
      case 'moved':
        if (call.mayHaveRun) {
          throw new PostgresFailure('The log has dropped events since, and with them maybe these', {
            code: DROPPED,
            mayHaveRun: true,
          });
        }
        this.#bounds.set(call, { id: second, sequence: Number(third) });
        return { outcome: 'again' };
      default:
        this.#answeredBy = id;
        return { outcome: 'ok', epoch: second, from: Number(third) };
    }
  }

  /** Gives the app's log a new epoch, so that the call can be tried again. A named log is not mended. */
  async #mend(failure: PostgresFailure): Promise<AppendAnswer | PostgresFailure> {
    if (this.#target.id !== undefined) {
      return failure;
    }
    try {
      await this.#context.mend();
      return { outcome: 'again' };
    } catch (error) {
      return failureOf(error);
    }
  }

  #argsOf({ batch }: AppendCall, { id, sequence }: Bound, deadline: string): string[] {
    const { settings, knowledge } = this.#context;
    const { name, maxEvents } = this.#target;
    const [{ lease, time }] = batch as [PendingAppend];
    const records = batch.flatMap(({ records, nonces }) =>
      records.map((record, index) => sentRecord(record, nonces[index]!)),
    );
    const [first] = records;
    return [
      settings.log,
      name,
      id,
      newEpoch(),
      knowledge.formerOfNext(),
      String(sequence),
      `${first!.n} ${time} ${first!.t}`,
      String(maxEvents),
      lease ? String(lease.token) : '',
      String(this.#acknowledged?.id === id ? this.#acknowledged.sequence : 0),
      deadline,
      String(time),
      records.at(-1)!.n,
      JSON.stringify(records),
    ];
  }
}

/** A code of ours, which is not tried again. */
const DROPPED = 'SSE02';
