import type { Observer } from 'rxjs';
import type { FollowFrom } from '../connection/index.js';
import type { LogEvent, LogTail } from '../log/index.js';
import { SseError } from '../sse.errors.js';
import type { TopicEvent } from '../wire/index.js';
import { matches } from './pattern-trie.js';
import { findFrom, gapBefore } from './start.js';
import type { ResetReason } from './topic.settings.js';

/**
 * Code on the server that follows a pattern. It cannot be paused: it gets what is there as fast as
 * it is read, then each event as it comes.
 */
export class Watcher {
  readonly #tokens: readonly string[];
  readonly #tail: LogTail;
  readonly #observer: Observer<TopicEvent>;
  #mode: 'replaying' | 'live' | 'over' = 'replaying';
  /** All up to here has been given out, or passed over. */
  #cursor = 0;

  constructor(tokens: readonly string[], tail: LogTail, observer: Observer<TopicEvent>) {
    this.#tokens = tokens;
    this.#tail = tail;
    this.#observer = observer;
  }

  start(from: FollowFrom, maxReplayEvents: number): void {
    if (from === 'now') {
      this.#cursor = this.#tail.last;
      this.#mode = 'live';
      return;
    }
    this.#replay(from, maxReplayEvents).catch((error: unknown) => {
      if (!this.#isOver) {
        this.#observer.error(error);
      }
    });
  }

  stop(): void {
    this.#mode = 'over';
  }

  /** An event that the pattern matches, as it comes. */
  offer(event: LogEvent): void {
    if (this.#mode === 'live' && event.record.sequence > this.#cursor) {
      this.#cursor = event.record.sequence;
      this.#observer.next(event.topicEvent);
    }
  }

  reset(reason: ResetReason): void {
    if (!this.#isOver) {
      this.#observer.error(gap(reason));
    }
  }

  get #isOver(): boolean {
    return this.#mode === 'over';
  }

  async #replay(from: FollowFrom, maxReplayEvents: number): Promise<void> {
    const start = await findFrom(this.#tail, from, maxReplayEvents);
    if (start.kind === 'reset') {
      throw gap(start.reason);
    }
    this.#cursor = start.sequence;
    const { ring } = this.#tail;
    while (this.#cursor < ring.first - 1 && !this.#isOver) {
      const page = await this.#tail.pageAfter(this.#cursor);
      const reason = gapBefore(page, this.#tail, this.#cursor);
      if (reason) {
        throw gap(reason);
      }
      // The log may be ahead of its tail: what the tail has not brought is offered when it does.
      const events = page.events.filter(({ record }) => record.sequence <= ring.last);
      this.#giveAll(events);
      this.#cursor = events.at(-1)?.record.sequence ?? this.#cursor;
    }
    // Out of the ring and live in one turn, so that nothing comes between.
    while (this.#cursor < ring.last && !this.#isOver) {
      this.#cursor += 1;
      this.#giveAll([ring.at(this.#cursor)!]);
    }
    if (!this.#isOver) {
      this.#mode = 'live';
    }
  }

  #giveAll(events: readonly LogEvent[]): void {
    for (const event of events) {
      if (!this.#isOver && matches(this.#tokens, event.topicTokens)) {
        this.#observer.next(event.topicEvent);
      }
    }
  }
}

function gap(reason: ResetReason): SseError {
  return new SseError('gap', `Events of the log are missing that cannot be replayed (${reason}).`);
}
