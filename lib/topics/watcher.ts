import type { Observer } from 'rxjs';
import type { LogEvent, LogTail } from '../log/index.js';
import { SseError } from '../errors/index.js';
import { pause } from '../time/index.js';
import { parsePosition } from '../wire/index.js';
import type { PositionParts, TopicEvent } from '../wire/index.js';
import { matches } from './pattern-trie.js';
import { findFrom, gapBefore } from './resume.js';
import type { ResetReason } from './topic.settings.js';
import type { TopicEventsOptions } from './topic.options.js';

/** What a watcher needs of the topics that it stands in. */
export interface WatcherHost {
  readonly tail: LogTail;
  /** The log's own head, which may be ahead of its tail. */
  head(): Promise<PositionParts>;
  /** Events are missing for a watcher that does not want to know. */
  reportGap(pattern: string, reason: ResetReason): void;
  /** The log cannot be read, and is asked again. */
  reportUnread(error: unknown): void;
  /** The app's own `onGap` failed. */
  reportFailedGap(error: unknown): void;
}

const RETRY_MS = 1_000;
// What a log on another machine may be ahead of its tail.
const AHEAD_MS = 2_000;

/**
 * Code on the server that follows a pattern. It cannot be paused: it gets what is there as fast as
 * it is read, then each event as it comes. A gap is told, and does not end it; while the log is away it waits.
 */
export class Watcher {
  readonly #pattern: string;
  readonly #tokens: readonly string[];
  readonly #host: WatcherHost;
  readonly #observer: Observer<TopicEvent>;
  readonly #options: TopicEventsOptions;
  readonly #stopped = new AbortController();
  #mode: 'replaying' | 'live' | 'over' = 'replaying';
  /** All up to here has been given out, or passed over. Undefined: it is still to be found, from `from` or after a loss. */
  #cursor: number | undefined;
  /** Up to where it had come when its place was lost. */
  #given = 0;
  /** Why its place is lost, until the next one is found. */
  #lost: ResetReason | undefined;
  /** Counts the places that were lost: what was asked of the log before says nothing after. */
  #losses = 0;

  constructor(
    pattern: string,
    host: WatcherHost,
    observer: Observer<TopicEvent>,
    options: TopicEventsOptions,
  ) {
    this.#pattern = pattern;
    this.#tokens = pattern.split('.');
    this.#host = host;
    this.#observer = observer;
    this.#options = options;
  }

  start(): void {
    const { from = 'now', to } = this.#options;
    if (to === undefined && from === 'now') {
      // Within the call: what is published right after it belongs to it.
      this.#cursor = this.#host.tail.last;
      this.#mode = 'live';
      return;
    }
    void this.#replay();
  }

  stop(): void {
    this.#mode = 'over';
    this.#stopped.abort();
  }

  /** The app is closing: nothing comes any more. */
  close(): void {
    if (this.#isOver) {
      return;
    }
    if (this.#options.to === undefined) {
      this.#observer.complete();
    } else {
      this.#observer.error(
        new SseError('closed', 'The app is shutting down: the events were not read to their end.'),
      );
    }
  }

  /** An event that the pattern matches, as it comes. */
  offer(event: LogEvent): void {
    if (this.#mode === 'live' && event.record.sequence > this.#cursor!) {
      this.#cursor = event.record.sequence;
      this.#observer.next(event.topicEvent);
    }
  }

  /** The log was replaced, or has lost what comes next. */
  reset(reason: ResetReason): void {
    if (this.#isOver) {
      return;
    }
    this.#lose(reason);
    if (this.#mode === 'live') {
      this.#mode = 'replaying';
      void this.#replay();
    }
  }

  get #isOver(): boolean {
    return this.#mode === 'over';
  }

  #lose(reason: ResetReason): void {
    this.#lost = reason;
    this.#losses += 1;
    this.#given = this.#cursor ?? this.#given;
    this.#cursor = undefined;
  }

  /** Reads on until it is live, or has come to its end. Never rejects. */
  async #replay(): Promise<void> {
    while (this.#mode === 'replaying') {
      try {
        if (this.#options.to === undefined) {
          await this.#readOn(Infinity);
        } else {
          await this.#readTo(this.#options.to);
        }
      } catch (error) {
        if (this.#isOver) {
          return;
        }
        if (this.#options.to !== undefined) {
          this.#observer.error(error);
          return;
        }
        this.#host.reportUnread(error);
        await pause(RETRY_MS, this.#stopped.signal);
      }
    }
  }

  /** Reads up to a place, and completes. */
  async #readTo(to: string): Promise<void> {
    const { tail } = this.#host;
    const head = await this.#host.head();
    const place = parsePosition(to);
    // A place in another log, or past the head, is past all that there is in this one.
    const end = place?.epoch === head.epoch ? Math.min(place.sequence, head.sequence) : head.sequence;
    while (!this.#isOver) {
      // After a loss its end may not be there any more: what there is ends with the head.
      const last = this.#losses === 0 && head.epoch === tail.epoch ? end : tail.last;
      await this.#readOn(last);
      if (this.#cursor !== undefined && this.#cursor >= last && !this.#isOver) {
        this.#observer.complete();
        return;
      }
      await tail.reaches(last, AHEAD_MS);
    }
  }

  /** Reads what there is up to a sequence; without an end it is live then. */
  async #readOn(last: number): Promise<void> {
    const losses = this.#losses;
    const { ring } = this.#host.tail;
    if (this.#cursor === undefined) {
      const place = await this.#findPlace();
      if (losses !== this.#losses) {
        return;
      }
      this.#cursor = place;
    }
    while (this.#goesOn(losses) && this.#cursor! < Math.min(last, ring.first - 1)) {
      await this.#readPage(losses, last);
    }
    // Out of the ring and live in one turn, so that nothing comes between.
    while (this.#goesOn(losses) && this.#cursor! < Math.min(last, ring.last)) {
      this.#cursor! += 1;
      this.#give(ring.at(this.#cursor!)!);
    }
    if (this.#goesOn(losses) && last === Infinity) {
      this.#mode = 'live';
    }
  }

  /** Whether it goes on from the place that it has found. */
  #goesOn(losses: number): boolean {
    return this.#losses === losses && this.#cursor !== undefined && !this.#isOver;
  }

  async #readPage(losses: number, last: number): Promise<void> {
    const { tail } = this.#host;
    const page = await tail.pageAfter(this.#cursor!);
    if (!this.#goesOn(losses)) {
      return;
    }
    const reason = gapBefore(page, tail, this.#cursor!);
    if (reason === 'trimmed') {
      // Where events are lost from within, the page ends before them.
      const [next] = page.events.length > 0 ? page.events : (await tail.pageAfter(this.#cursor! + 1)).events;
      if (this.#goesOn(losses)) {
        this.#cursor = (next?.record.sequence ?? tail.last + 1) - 1;
        this.#tellGap(reason);
      }
      return;
    }
    if (reason) {
      // The tail has not heard of it yet. When it does, there is a new place.
      await pause(RETRY_MS, this.#stopped.signal);
      return;
    }
    // The log may be ahead of its tail: what the tail has not brought is offered when it does.
    const events = page.events.filter(({ record }) => record.sequence <= Math.min(last, tail.last));
    for (const event of events) {
      if (!this.#goesOn(losses)) {
        return;
      }
      this.#cursor = event.record.sequence;
      this.#give(event);
    }
  }

  async #findPlace(): Promise<number | undefined> {
    const losses = this.#losses;
    const { tail } = this.#host;
    if (this.#lost === undefined) {
      const { from = this.#options.to === undefined ? 'now' : 'earliest' } = this.#options;
      // Code on the server is no client: however much it has missed, it gets it.
      const start = await findFrom(tail, from, Infinity);
      if (losses !== this.#losses) {
        return undefined;
      }
      if (start.kind !== 'reset') {
        return start.sequence;
      }
      this.#lost = start.reason;
    }
    const reason = this.#lost;
    const place = await this.#placeAfter(reason);
    if (losses !== this.#losses) {
      return undefined;
    }
    this.#lost = undefined;
    this.#tellGap(reason);
    return place;
  }

  async #placeAfter(reason: ResetReason): Promise<number> {
    const { tail } = this.#host;
    switch (reason) {
      case 'trimmed':
        return Math.max((await tail.firstHeld()) - 1, this.#given);
      case 'epoch':
        return (await tail.firstHeld()) - 1;
      case 'diverged':
      case 'regressed':
      case 'limit':
      case 'invalid':
        // A copy that the engine went back to holds much that was given out.
        return tail.last;
    }
  }

  #tellGap(reason: ResetReason): void {
    const { onGap } = this.#options;
    if (!onGap) {
      this.#host.reportGap(this.#pattern, reason);
      return;
    }
    try {
      onGap({ reason });
    } catch (error) {
      this.#host.reportFailedGap(error);
    }
  }

  #give(event: LogEvent): void {
    if (matches(this.#tokens, event.topicTokens)) {
      this.#observer.next(event.topicEvent);
    }
  }
}
