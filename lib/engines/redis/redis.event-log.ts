import {
  closed,
  expired,
  FollowedLog,
  newEpoch,
  newestRecords,
  PAGE_BYTES,
  readPage,
  untilAvailable,
} from '../index.js';
import type {
  Appended,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  NamedLog,
  NewRecord,
} from '../../log/index.js';
import type { EngineWatch, EntryRules, LogKnowledge, NonceSource } from '../index.js';
import { SseError } from '../../errors/index.js';
import { RedisAppends } from './appends.js';
import type { AppendTarget } from './appends.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys, RedisKeys } from './keys.js';
import type { RedisLink } from './link.js';
import type { RedisSettings } from './options.js';
import type { RedisReader } from './reader.js';
import { pageOf } from './replies.js';
import type { RedisPage } from './replies.js';
import { PAGE } from './scripts.js';

/** The parts that the logs of a store share. */
export interface RedisContext {
  readonly settings: RedisSettings;
  readonly keys: RedisKeys;
  readonly nonces: NonceSource;
  readonly commands: RedisLink;
  readonly reader: RedisReader;
  readonly watch: EngineWatch<RedisFailure>;
  readonly knowledge: LogKnowledge;
  /** Checks the entries of a log. */
  rulesOf(keys: LogKeys, isNamed: boolean): EntryRules;
  /** Aborts when the store is closed. */
  readonly closed: AbortSignal;
}

/** A log on Redis: the app's log, or a named one. */
export class RedisEventLog implements NamedLog {
  readonly #context: RedisContext;
  readonly #target: AppendTarget;
  readonly #leaseKey: string | undefined;
  readonly #appends: RedisAppends;
  readonly #rules: EntryRules;

  /** @param leaseKey - for a named log */
  constructor(context: RedisContext, target: Omit<AppendTarget, 'onAcknowledged'>, leaseKey?: string) {
    const { keys, epoch } = target;
    const onAcknowledged = (place: LogHead) => {
      if (epoch === undefined) {
        context.knowledge.acknowledge(place);
      }
      context.reader.get(keys)?.acknowledge(place);
    };
    this.#context = context;
    this.#target = { ...target, onAcknowledged };
    this.#leaseKey = leaseKey;
    this.#appends = new RedisAppends(this.#target, context);
    this.#rules = context.rulesOf(keys, epoch !== undefined);
  }

  append(records: readonly NewRecord[], { lease }: { lease?: Lease } = {}): Promise<Appended> {
    if (records.length === 0) {
      return this.head().then(({ epoch }) => ({ epoch, records: [] }));
    }
    return this.#appends.append(
      records,
      lease && this.#leaseKey !== undefined
        ? { key: this.#leaseKey, token: lease.token, signal: lease.signal }
        : undefined,
    );
  }

  page(from: number, limit: number): Promise<LogPage> {
    return readPage((start, count) => this.#page(start, count), from, limit, this.#rules);
  }

  async head(): Promise<LogHead> {
    return (await this.#page(1, 0)).head;
  }

  async follow(
    listener: LogListener,
    { recent = 0, recentBytes = Infinity }: { recent?: number; recentBytes?: number } = {},
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    const { startTimeoutMs, publishTimeoutMs } = this.#context.settings;
    this.#context.watch.start();
    return untilAvailable((leftMs) => this.#follow(listener, recent, recentBytes, leftMs), {
      timeoutMs: this.#isNamed ? publishTimeoutMs : startTimeoutMs,
      pause: (ms) => this.#context.commands.pause(ms),
      isFinal,
    });
  }

  /** Appends the notice as a record. Scripts run one at a time, so no append makes another one fail. */
  async notify(_key: string, notice: NewRecord): Promise<void> {
    await this.append([notice]);
  }

  async onNotice(): Promise<() => void> {
    return () => undefined;
  }

  async lastNotice(): Promise<undefined> {
    return undefined;
  }

  get #isNamed(): boolean {
    return this.#target.epoch !== undefined;
  }

  /** Follows the log in one attempt; undefined if the log was replaced meanwhile. */
  async #follow(
    listener: LogListener,
    recent: number,
    recentBytes: number,
    withinMs: number,
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void } | undefined> {
    const { reader } = this.#context;
    const { keys } = this.#target;
    let followed = reader.get(keys);
    if (!followed) {
      const { head, former } = await this.#page(1, 0, withinMs);
      followed = reader.get(keys);
      if (!followed) {
        followed = new FollowedLog(keys, this.#isNamed, { head, rules: this.#rules });
        if (!this.#isNamed) {
          this.#context.knowledge.follow(head.epoch, former);
        }
      }
    }
    const listening = followed.listeners.add(listener);
    reader.add(followed);
    try {
      const head = await this.head();
      const records = await newestRecords((from, limit) => this.page(from, limit), head, {
        recent,
        recentBytes,
      });
      if (records && head.epoch === followed.head.epoch && !listening.wasReset) {
        listening.begin(head.sequence);
        return { head, recent: records, stop: () => listening.stop() };
      }
    } catch (error) {
      listening.stop();
      throw error;
    }
    listening.stop();
    return undefined;
  }

  async #page(from: number, limit: number, withinMs?: number): Promise<RedisPage> {
    const { keys, epoch } = this.#target;
    const page = await findPage(this.#context, keys, { from, limit, begin: epoch === undefined, withinMs });
    if (!page || (epoch !== undefined && page.head.epoch !== epoch)) {
      throw expired(true);
    }
    return page;
  }
}

/**
 * Requests the head of a log and entries from a sequence on.
 *
 * @param options.begin - begins the log if there is none
 * @param options.withinMs - a shorter time limit than `commandTimeoutMs`
 * @returns undefined if there is no log
 */
export async function findPage(
  { commands, settings, knowledge, closed: closing }: RedisContext,
  { events, meta }: LogKeys,
  {
    from,
    limit,
    begin = false,
    withinMs = Infinity,
  }: { from: number; limit: number; begin?: boolean; withinMs?: number },
): Promise<RedisPage | undefined> {
  if (closing.aborted) {
    throw closed(true);
  }
  const args = [
    begin ? newEpoch() : '',
    String(Math.max(0, from)),
    String(limit),
    String(PAGE_BYTES),
    begin ? knowledge.formerOfNext() : '',
  ];
  try {
    const timeoutMs = Math.min(settings.commandTimeoutMs, withinMs);
    return pageOf(await commands.run(PAGE, [events, meta], args, timeoutMs), !begin);
  } catch (error) {
    throw closing.aborted ? closed(true) : unavailable(error);
  }
}

/** Returns whether a failure is permanent: a missing client library, a wrong password. */
function isFinal(cause: unknown): boolean {
  return cause instanceof RedisFailure && (cause.cause instanceof SseError || !cause.isTransient);
}

export function unavailable(error: unknown): SseError {
  const failure = error instanceof RedisFailure ? error : failureOf(error);
  const message = failure.isUnreached
    ? failure.message
    : `Redis does not do what the log needs: ${failure.message}`;
  return new SseError('log-unavailable', message, { cause: failure });
}
