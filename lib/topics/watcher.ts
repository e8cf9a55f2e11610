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

/** The topics, as a watcher sees them. */
export interface WatcherHost {
  readonly tail: LogTail;
  /** Reads the log's head, which may be ahead of the tail. */
  head(): Promise<PositionParts>;
  /** Reports missing events for a watcher without `onGap`. */
  reportGap(pattern: string, reason: ResetReason): void;
  /** Reports that the log cannot be read and is read again later. */
  reportUnread(error: unknown): void;
  /** Reports that the app's `onGap` threw. */
  reportFailedGap(error: unknown): void;
}

const RETRY_MS = 1_000;
// How long the tail may be behind a log on another machine.
const AHEAD_MS = 2_000;

/**
 * A subscriber to `events()`, which follows a pattern. It cannot be paused: it gets the events of the log as fast as
 * they are read, then each event as it comes. A gap is reported, and the subscription goes on. While the log is away,
 * it waits.
 */
export class Watcher {
  readonly #pattern: string;
  readonly #tokens: readonly string[];
  readonly #host: WatcherHost;
  readonly #observer: Observer<TopicEvent>;
  readonly #options: TopicEventsOptions;
  readonly #stopped = new AbortController();
  #mode: 'replaying' | 'live' | 'over' = 'replaying';
  /** All events up to here are delivered or skipped. Undefined until it is found, from `from` or after a loss. */
  #cursor: number | undefined;
  /** The cursor at the moment of the loss. */
  #given = 0;
  /** Why the place is lost, until the next one is found. */
  #lost: ResetReason | undefined;
  /** Increases with each loss. Discard answers of the log to requests made before a loss. */
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
      // Begins within the call: an event that is published right after it is delivered.
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

  /** Completes the Observable: the app is closing. */
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

  /** Offers an event that the pattern matches, as it comes. */
  offer(event: LogEvent): void {
    if (this.#mode === 'live' && event.record.sequence > this.#cursor!) {
      this.#cursor = event.record.sequence;
      this.#observer.next(event.topicEvent);
    }
  }

  /** Loses the place: the log was replaced, or has lost the next events. */
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

  /** Reads until it is live or has reached its end. It never rejects. */
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

  /** Reads up to a position, and completes. */
  async #readTo(to: string): Promise<void> {
    const { tail } = this.#host;
    const head = await this.#host.head();
    const place = parsePosition(to);
    // A position in another log, or past the head, is past all events of this log.
    const end = place?.epoch === head.epoch ? Math.min(place.sequence, head.sequence) : head.sequence;
    while (!this.#isOver) {
      // After a loss the end may be gone. It then ends with the head.
      const last = this.#losses === 0 && head.epoch === tail.epoch ? end : tail.last;
      await this.#readOn(last);
      if (this.#cursor !== undefined && this.#cursor >= last && !this.#isOver) {
        this.#observer.complete();
        return;
      }
      await tail.reaches(last, AHEAD_MS);
    }
  }

  /** Reads the events up to a sequence. Without an end it is live then. */
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
    // Reads the ring and goes live in one turn, so that no event comes between.
    while (this.#goesOn(losses) && this.#cursor! < Math.min(last, ring.last)) {
      this.#cursor! += 1;
      this.#give(ring.at(this.#cursor!)!);
    }
    if (this.#goesOn(losses) && last === Infinity) {
      this.#mode = 'live';
    }
  }

  /** Returns whether it goes on from the place that it has found. */
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
      // If events are missing within a page, the page ends before them.
      const [next] = page.events.length > 0 ? page.events : (await tail.pageAfter(this.#cursor! + 1)).events;
      if (this.#goesOn(losses)) {
        this.#cursor = (next?.record.sequence ?? tail.last + 1) - 1;
        this.#notifyGap(reason);
      }
      return;
    }
    if (reason) {
      // The tail has not received the reset yet. After the reset there is a new place.
      await pause(RETRY_MS, this.#stopped.signal);
      return;
    }
    // The log may be ahead of the tail: later events are offered when the tail receives them.
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
      // No replay limit for code on the server: it gets all events that it missed.
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
    this.#notifyGap(reason);
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
        // The engine may have gone back to an old copy, and many of its events were delivered already. Which of them is
        // unknown, so everything up to the head is skipped.
        return tail.last;
    }
  }

  #notifyGap(reason: ResetReason): void {
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
