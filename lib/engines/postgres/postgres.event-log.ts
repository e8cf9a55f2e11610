import {
  closed,
  expired,
  FollowedLog,
  newestRecords,
  PAGE_BYTES,
  readPage,
  untilAvailable,
} from '../index.js';
import type { EntryRules } from '../index.js';
import { SseError } from '../../errors/index.js';
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
import { PostgresAppends } from './appends.js';
import type { AppendTarget } from './appends.js';
import type { PostgresContext } from './context.js';
import { failureOf, PostgresFailure } from './failure.js';
import { pageOf } from './replies.js';
import type { PostgresPage } from './replies.js';

/** A log on PostgreSQL: the app's log, or a named one. */
export class PostgresEventLog implements NamedLog {
  readonly #context: PostgresContext;
  readonly #target: AppendTarget;
  readonly #appends: PostgresAppends;
  readonly #rules: EntryRules;

  constructor(context: PostgresContext, target: AppendTarget) {
    this.#context = context;
    this.#target = target;
    this.#appends = new PostgresAppends(target, context);
    this.#rules = context.rulesOf(target.name);
  }

  append(records: readonly NewRecord[], { lease }: { lease?: Lease } = {}): Promise<Appended> {
    if (records.length === 0) {
      return this.head().then(({ epoch }) => ({ epoch, records: [] }));
    }
    return this.#appends.append(
      records,
      lease && this.#isNamed
        ? { key: this.#target.name, token: lease.token, signal: lease.signal }
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
    return untilAvailable((leftMs) => this.#follow(listener, { recent, recentBytes }, leftMs), {
      timeoutMs: this.#isNamed ? publishTimeoutMs : startTimeoutMs,
      pause: (ms) => this.#context.commands.pause(ms),
      isFinal,
    });
  }

  /** Appends the notice as a record: appends wait for the lock of the log's row, so none makes another one fail. */
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
    return this.#target.id !== undefined;
  }

  /** Follows the log in one attempt; undefined if the log was replaced meanwhile. */
  async #follow(
    listener: LogListener,
    newest: { recent: number; recentBytes: number },
    withinMs: number,
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void } | undefined> {
    const { reader, knowledge } = this.#context;
    let followed = this.#followed();
    if (!followed) {
      const { id, head, former } = await this.#page(1, 0, withinMs);
      followed = this.#followed();
      if (!followed) {
        followed = new FollowedLog({ id, name: this.#target.name }, this.#isNamed, {
          head,
          rules: this.#rules,
        });
        if (!this.#isNamed) {
          knowledge.follow(head.epoch, former);
        }
      }
    }
    const listening = followed.listeners.add(listener);
    reader.add(followed);
    try {
      const head = await this.head();
      const recent = await newestRecords((from, limit) => this.page(from, limit), head, newest);
      if (recent && head.epoch === followed.head.epoch && !listening.wasReset) {
        listening.begin(head.sequence);
        return { head, recent, stop: () => listening.stop() };
      }
    } catch (error) {
      listening.stop();
      throw error;
    }
    listening.stop();
    return undefined;
  }

  #followed() {
    const { reader } = this.#context;
    return this.#target.id === undefined ? reader.appLog : reader.get(this.#target.id);
  }

  async #page(from: number, limit: number, withinMs = Infinity): Promise<PostgresPage> {
    const { id, name } = this.#target;
    const find = () => findPage(this.#context, name, { from, limit, withinMs });
    let page = await find();
    if (!page && id === undefined) {
      await beginLog(this.#context);
      page = await find();
    }
    if (!page || (id !== undefined && page.id !== id)) {
      throw expired(true);
    }
    return page;
  }
}

/**
 * Reads the head of a log, and entries from a sequence on.
 *
 * @param name - as it is stored; empty for the app's log
 * @param options.withinMs - a shorter time limit than `commandTimeoutMs`
 * @returns undefined if there is no log
 */
export async function findPage(
  { commands, settings, closed: closing }: PostgresContext,
  name: string,
  { from, limit, withinMs = Infinity }: { from: number; limit: number; withinMs?: number },
): Promise<PostgresPage | undefined> {
  if (closing.aborted) {
    throw closed(true);
  }
  const args = [settings.log, name, String(Math.max(0, from)), String(limit), String(PAGE_BYTES)];
  try {
    return pageOf(await commands.rows('page', args, Math.min(settings.commandTimeoutMs, withinMs)));
  } catch (error) {
    throw closing.aborted ? closed(true) : unavailable(error);
  }
}

async function beginLog(context: PostgresContext): Promise<void> {
  try {
    await context.head();
  } catch (error) {
    throw context.closed.aborted ? closed(true) : unavailable(error);
  }
}

/** Returns whether a failure is permanent: a missing client library, a wrong password, rights that are missing. */
function isFinal(cause: unknown): boolean {
  return (
    cause instanceof PostgresFailure &&
    (cause.cause instanceof SseError || cause.isFinal || !cause.isTransient)
  );
}

export function unavailable(error: unknown): SseError {
  const failure = failureOf(error);
  const message = failure.isUnreached
    ? failure.message
    : `PostgreSQL does not do what the log needs: ${failure.message}.${failure.hint}`;
  return new SseError('log-unavailable', message, { cause: failure });
}
