import { RepeatLimit } from '../../errors/index.js';
import { pause } from '../../time/index.js';
import type { NewRecord } from '../../log/index.js';
import { unavailable } from './failure.js';
import { draftOf, noticeMessageOf, noticeOf } from './message.js';
import type { StreamMessage } from './message.js';
import type { NatsContext } from './nats.event-log.js';
import type { NatsStream } from './stream.js';
import { subjectTokenOf } from './subject.js';

const MOST_KEPT = 10_000;
const RETRY_MS = 250;
/** The failures after a reconnect that make a warning: a server that has just come back may refuse for a moment. */
const FAILURES_TO_WARN = 4;

/** The log of a notice. */
export interface NoticedLog {
  readonly name: string;
  readonly epoch: string;
}

/**
 * Notices about named logs. Each key has a subject, without compare-and-set. Listeners receive them by a plain
 * subscription. A stream keeps the newest notice of each key for listeners that were away.
 */
export class Notices {
  readonly #context: NatsContext;
  readonly #stream: NatsStream;
  readonly #base: string;
  /** The pending notice of each subject. A later notice waits for it: a retry must not arrive behind it. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #limit = new RepeatLimit();

  constructor(context: NatsContext, stream: NatsStream, base: string) {
    this.#context = context;
    this.#stream = stream;
    this.#base = base;
  }

  /** @throws SseError; Refusal */
  publish(log: NoticedLog, key: string, notice: NewRecord): Promise<void> {
    const subject = `${this.#subjectOf(log)}.${subjectTokenOf(key)}`;
    const publishing = (this.#turns.get(subject) ?? Promise.resolve()).then(async () => {
      const draft = draftOf(notice, this.#context.nonces.next(), Date.now());
      const message = { subject, ...noticeMessageOf(draft, log.epoch) };
      await this.#context.publisher.publish(this.#stream.name, message, performance.now());
    });
    // The caller gets the failure by `publishing`. The next notice only waits for the end.
    const turn = publishing
      .catch(() => undefined)
      .finally(() => {
        if (this.#turns.get(subject) === turn) {
          this.#turns.delete(subject);
        }
      });
    this.#turns.set(subject, turn);
    return publishing;
  }

  async last(log: NoticedLog, key: string): Promise<NewRecord | undefined> {
    const message = await this.#stream.message({
      last_by_subj: `${this.#subjectOf(log)}.${subjectTokenOf(key)}`,
    });
    return message && noticeOf(message, log.epoch, this.#context.namedRules);
  }

  /** Makes a listener for the notices of a log. Start it, and stop it later. */
  listen(log: NoticedLog, listener: (notice: NewRecord) => void): NoticeListener {
    return new NoticeListener(this.#context, {
      subject: `${this.#subjectOf(log)}.*`,
      read: (filter) =>
        this.#stream.read({
          from: 1,
          to: Infinity,
          limit: MOST_KEPT,
          maxBytes: Number.MAX_SAFE_INTEGER,
          filter,
          newestOnly: true,
        }),
      receive: (message) => {
        const notice = noticeOf(message, log.epoch, this.#context.namedRules);
        try {
          if (notice) {
            listener(notice);
          }
        } catch (error) {
          // An error within a subscription's callback would end the connection.
          this.#context.engine.warn(`NATS: a listener of notices has thrown: ${String(error)}`);
        }
      },
      onUnreadable: (error) => this.#warnOfUnreadable(error),
    });
  }

  /** Warns that kept notices cannot be read, for all listeners together, at most every ten seconds. */
  #warnOfUnreadable(error: unknown): void {
    const message = this.#limit.limit(
      'unreadable',
      () =>
        `NATS: kept notices of runs in "${this.#stream.name}" cannot be read: ${unavailable(error).message}`,
    );
    if (message !== undefined) {
      this.#context.engine.warn(message);
    }
  }

  #subjectOf({ name }: NoticedLog): string {
    return `${this.#base}.${subjectTokenOf(name)}`;
  }
}

interface Source {
  readonly subject: string;
  read(filter: string): Promise<readonly StreamMessage[]>;
  receive(message: Pick<StreamMessage, 'data' | 'header'>): void;
  /** Called once for each connection on which the kept notices cannot be read. */
  onUnreadable(error: unknown): void;
}

/** One listener: a subscription, and the kept notices each time that the connection was away. */
export class NoticeListener {
  readonly #context: NatsContext;
  readonly #source: Source;
  readonly #stopped = new AbortController();
  #subscription: { unsubscribe(): void } | undefined;
  #stopListening: (() => void) | undefined;
  /** The subjects with a notice since the kept ones were last requested: it is newer than the kept one. */
  #fresh = new Set<string>();
  /** Aborts the reading that the last connection has begun. */
  #catchingUp = new AbortController();

  constructor(context: NatsContext, source: Source) {
    this.#context = context;
    this.#source = source;
  }

  /** Resolves when it has received the kept notices and receives new ones. */
  async start(): Promise<void> {
    const { link } = this.#context;
    this.#subscription = link.connection.subscribe(this.#source.subject, {
      callback: (error, message) => {
        if (error) {
          // Without permission to subscribe, a producer would receive no stop.
          this.#context.engine.warn(`NATS: notices of runs cannot be received: ${error.message}.`);
          return;
        }
        if (this.#stopped.signal.aborted) {
          return;
        }
        const { subject, data, headers } = message;
        this.#fresh.add(subject);
        this.#source.receive({ data, header: (name) => headers?.get(name) ?? '' });
      },
    });
    this.#stopListening = link.onConnection((isConnected) => {
      // Each connection reads once. Without one there is nothing to read from.
      this.#catchingUp.abort();
      if (isConnected) {
        this.#catchingUp = new AbortController();
        void this.#catchUp(this.#catchingUp.signal);
      }
    });
    await this.#readKept();
  }

  stop(): void {
    this.#stopped.abort();
    this.#stopListening?.();
    if (!this.#context.link.connection.isClosed()) {
      this.#subscription?.unsubscribe();
    }
  }

  async #catchUp(connected: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([connected, this.#stopped.signal, this.#context.closed]);
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await this.#readKept();
        return;
      } catch (error) {
        if (failures === FAILURES_TO_WARN && !signal.aborted) {
          this.#source.onUnreadable(error);
        }
        // Without the kept notices, a listener would wait for them in vain.
        await pause(RETRY_MS, signal);
      }
    }
  }

  async #readKept(): Promise<void> {
    const fresh = new Set<string>();
    this.#fresh = fresh;
    const kept = await this.#source.read(this.#source.subject);
    for (const message of kept) {
      if (this.#stopped.signal.aborted) {
        return;
      }
      if (!fresh.has(message.subject)) {
        this.#source.receive(message);
      }
    }
  }
}
