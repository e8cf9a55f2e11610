import { newEpoch } from '../index.js';
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
import type { NonceSource } from '../index.js';
import { SseError } from '../../errors/index.js';
import { closed, expired } from './append-errors.js';
import { RedisAppends } from './appends.js';
import type { AppendTarget } from './appends.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys, RedisKeys } from './keys.js';
import type { RedisKnowledge } from './knowledge.js';
import type { RedisLink } from './link.js';
import type { RedisSettings } from './options.js';
import { FollowedLog } from './reader.js';
import type { RedisReader } from './reader.js';
import { pageOf, recordsOf } from './replies.js';
import type { EntryRules, RedisPage } from './replies.js';
import { PAGE } from './scripts.js';
import type { RedisWatch } from './watch.js';

/** The parts that the logs of a store share. */
export interface RedisContext {
  readonly settings: RedisSettings;
  readonly keys: RedisKeys;
  readonly nonces: NonceSource;
  readonly commands: RedisLink;
  readonly reader: RedisReader;
  readonly watch: RedisWatch;
  readonly knowledge: RedisKnowledge;
  /** Checks the entries of a log. */
  rulesOf(keys: LogKeys, isNamed: boolean): EntryRules;
  /** Aborts when the store is closed. */
  readonly closed: AbortSignal;
}

// The most entries of one script call: about 4 ms of Redis.
const PAGE_RECORDS = 1_000;
const PAGE_BYTES = 4_194_304;
const RECENT_RECORDS = 500;
const AGAIN_MS = 100;

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

  async page(from: number, limit: number): Promise<LogPage> {
    const asked = () => Math.min(limit - records.length, PAGE_RECORDS);
    const records: LogRecord[] = [];
    let wanted = asked();
    let page = await this.#page(from, wanted);
    let part = recordsOf(page, from, this.#rules);
    const { epoch } = page.head;
    const { first } = part;
    let bytes = 0;
    for (;;) {
      const last = records.at(-1);
      const [next] = part.records;
      if (last && next && !(next.sequence === last.sequence + 1)) {
        break;
      }
      bytes += part.records.reduce((sum, record) => sum + sizeOf(record), 0);
      records.push(...part.records);
      const isCut = part.records.length < page.entries.length || page.entries.length < wanted;
      if (isCut || records.length >= limit || bytes >= PAGE_BYTES) {
        break;
      }
      const from = records.at(-1)!.sequence + 1;
      wanted = asked();
      const further = await this.#page(from, wanted);
      if (further.head.epoch !== epoch) {
        break;
      }
      page = further;
      part = recordsOf(page, from, this.#rules);
    }
    return { epoch, records, first: Math.max(first, page.first), head: page.head.sequence };
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
    const deadline = performance.now() + (this.#isNamed ? publishTimeoutMs : startTimeoutMs);
    let last: SseError | undefined;
    for (;;) {
      const leftMs = Math.max(1, deadline - performance.now());
      try {
        const following = await this.#follow(listener, recent, recentBytes, leftMs);
        if (following) {
          return following;
        }
      } catch (error) {
        if (!(error instanceof SseError && error.code === 'log-unavailable') || isFinal(error.cause)) {
          throw error;
        }
        if (performance.now() + AGAIN_MS >= deadline) {
          // The last attempt had less time than the others. The failure before it says more.
          throw last ?? error;
        }
        last = error;
      }
      await this.#context.commands.pause(AGAIN_MS);
    }
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
      const records = await this.#recent(head, recent, recentBytes);
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

  /** Reads the newest records up to a head; undefined if the log was replaced meanwhile. */
  async #recent(head: LogHead, count: number, maxBytes: number): Promise<readonly LogRecord[] | undefined> {
    const lowest = Math.max(1, head.sequence - count + 1);
    const pages: (readonly LogRecord[])[] = [];
    let size = RECENT_RECORDS;
    let bytes = 0;
    for (let end = head.sequence; end >= lowest && bytes < maxBytes;) {
      const from = Math.max(lowest, end - size + 1);
      const { epoch, records } = await this.page(from, end - from + 1);
      if (epoch !== head.epoch) {
        return undefined;
      }
      const isWhole = records.at(-1)?.sequence === end;
      if (isWhole) {
        pages.unshift(records);
        bytes += records.reduce((sum, record) => sum + sizeOf(record), 0);
      }
      if (records[0]?.sequence !== from) {
        // Older records were trimmed.
        break;
      }
      if (isWhole) {
        end = from - 1;
      } else {
        // Large records come a few at a time.
        size = Math.max(1, Math.floor(size / 4));
      }
    }
    const newest = pages.flat();
    return newest.length > 0 && newest.at(-1)!.nonce !== head.nonce ? undefined : newest;
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

/** Returns the records of a request up to the first gap. */
export function logPageOf(page: RedisPage, from: number, rules: EntryRules): LogPage {
  return { epoch: page.head.epoch, ...recordsOf(page, from, rules), head: page.head.sequence };
}

function sizeOf({ topic, data }: LogRecord): number {
  return topic.length + data.length;
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
