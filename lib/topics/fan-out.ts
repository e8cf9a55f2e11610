import { ChunkWrites, TurnWrites } from '../connection/index.js';
import type { ResponseOutput } from '../connection/index.js';
import type { LogEvent } from '../log/index.js';
import { Durations, SHORT_MS } from '../time/index.js';
import type { Chunk } from '../wire/index.js';
import type { PatternTrie } from './pattern-trie.js';
import type { Subscription, WriteTarget } from './subscription.js';
import type { Watcher } from './watcher.js';

/** Clients that are written to in one turn of the event loop: about 4 ms. */
const WRITES_PER_TURN = 500;
/** Pending events from which on the log is asked to wait. */
const MAX_PENDING = 1_000;
/** Offers in one turn whose writes come later: about 4 ms as well. */
const OFFERS_PER_TURN = 10_000;

/** Events that the log has given at once. */
interface ReceivedEvents {
  readonly events: readonly LogEvent[];
  /** By `performance.now()`. */
  readonly receivedAt: number;
}

/** The topics, as the fan-out sees them. */
export interface FanOutHost {
  readonly subscriptions: PatternTrie<Subscription>;
  readonly watchers: PatternTrie<Watcher>;
  /** Called if one receiver throws. The others get the event. */
  onOfferFailed(receiver: Subscription | Watcher, error: unknown): void;
  /** Called if something else fails. */
  onBatchFailed(error: unknown): void;
  /** Called after each batch of events. It may write to clients, and yields between two turns. */
  afterBatch(): Generator<void, void>;
}

/**
 * Offers the events of the log to all receivers, in order, in turns of a few milliseconds. Between two turns the
 * process serves other requests.
 */
export class FanOut {
  readonly #host: FanOutHost;
  #offered = 0;
  #generation = 0;
  /** Counted over all events: the turns are those of the process. */
  #offers = 0;
  /** Events that wait until the events before them have been offered. */
  #pending: ReceivedEvents[] = [];
  #pendingEvents = 0;
  #isOffering = false;
  #idleWaiters: (() => void)[] = [];

  /** How long it took from the receipt of events until they were offered to all receivers. */
  readonly durations = new Durations(SHORT_MS);

  constructor(host: FanOutHost) {
    this.#host = host;
  }

  /** The sequence of the last event that was offered to all receivers. */
  get offered(): number {
    return this.#offered;
  }

  /** The generation of the log. It increases when the log is replaced. */
  get generation(): number {
    return this.#generation;
  }

  /** How many events are received and not offered to all receivers yet. */
  get pending(): number {
    return this.#pendingEvents;
  }

  /** Begins after a sequence. */
  start(sequence: number): void {
    this.#offered = sequence;
  }

  /** Drops what is pending and goes on after a sequence, in the next generation. */
  restart(sequence: number): void {
    this.#generation += 1;
    this.#pending = [];
    this.#pendingEvents = 0;
    this.#offered = sequence;
  }

  /** Offers events. @returns a promise if many are pending; it resolves when all of them have been offered */
  push(events: readonly LogEvent[]): Promise<void> | undefined {
    this.#pending.push({ events, receivedAt: performance.now() });
    this.#pendingEvents += events.length;
    if (!this.#isOffering) {
      this.#offerAll();
    }
    return this.#pendingEvents > MAX_PENDING ? this.idle() : undefined;
  }

  /** Resolves when nothing is pending. */
  async idle(): Promise<void> {
    if (this.#isOffering) {
      await new Promise<void>((resolve) => {
        this.#idleWaiters.push(resolve);
      });
    }
  }

  #offerAll(): void {
    this.#isOffering = true;
    const turns = this.#turns();
    const turn = (): void => {
      if (turns.next().done) {
        this.#isOffering = false;
        this.#idleWaiters.splice(0).forEach((resolve) => resolve());
      } else {
        setImmediate(turn);
      }
    };
    turn();
  }

  *#turns(): Generator<void, void> {
    for (let received = this.#pending.shift(); received; received = this.#pending.shift()) {
      const { events, receivedAt } = received;
      const generation = this.#generation;
      try {
        yield* events.length === 1 ? this.#offerAlone(events[0]!) : this.#offerTogether(events);
      } catch (error) {
        // Thrown on, it would leave all later events waiting for a turn that never comes.
        this.#host.onBatchFailed(error);
      }
      if (generation !== this.#generation) {
        // These events are of a log that was replaced. `restart` has set the counts.
        continue;
      }
      this.durations.add(performance.now() - receivedAt);
      this.#offered = Math.max(this.#offered, events.at(-1)!.record.sequence);
      this.#pendingEvents = Math.max(0, this.#pendingEvents - events.length);
      yield* this.#host.afterBatch();
    }
  }

  *#offerAlone(event: LogEvent): Generator<void, void> {
    const writes = new SingleWrites();
    for (const _turn of this.#offer(event, writes, WRITES_PER_TURN)) {
      writes.flush();
      yield;
    }
    writes.flush();
  }

  *#offerTogether(events: readonly LogEvent[]): Generator<void, void> {
    const writes = new JoinedWrites();
    const generation = this.#generation;
    for (const event of events) {
      if (generation === this.#generation) {
        yield* this.#offer(event, writes, OFFERS_PER_TURN);
      }
    }
    while (writes.flush(WRITES_PER_TURN)) {
      yield;
    }
  }

  *#offer(event: LogEvent, target: WriteTarget, offersPerTurn: number): Generator<void, void> {
    const generation = this.#generation;
    const { watchers: allWatchers, subscriptions: allSubscriptions } = this.#host;
    for (const watchers of allWatchers.match(event.topicTokens)) {
      for (const watcher of watchers) {
        try {
          watcher.offer(event);
        } catch (error) {
          this.#host.onOfferFailed(watcher, error);
        }
      }
    }
    for (const subscriptions of allSubscriptions.match(event.topicTokens)) {
      for (const subscription of subscriptions) {
        try {
          subscription.follower.offer(event, subscription, target);
        } catch (error) {
          this.#host.onOfferFailed(subscription, error);
        }
        this.#offers += 1;
        if (this.#offers % offersPerTurn === 0) {
          yield;
          if (generation !== this.#generation) {
            return;
          }
        }
      }
    }
  }
}

/** Calls a function that may write with each item of a list, and yields after each turn's worth of them. */
export function* inTurns<T>(list: Iterable<T>, write: (item: T) => void): Generator<void, void> {
  let done = 0;
  for (const item of list) {
    write(item);
    done += 1;
    if (done % WRITES_PER_TURN === 0) {
      yield;
    }
  }
}

/** The writes of an event that is alone in its turn. */
class SingleWrites implements WriteTarget {
  #writes = new ChunkWrites();

  take(output: ResponseOutput, chunk: Chunk): void {
    output.stageChunk(chunk, this.#writes);
  }

  /** Writes what was taken. Call it in the same turn. */
  flush(): void {
    this.#writes.flush();
    this.#writes = new ChunkWrites();
  }
}

/** The writes of events that came in one turn: one write for each client. */
class JoinedWrites implements WriteTarget {
  readonly #start = new TurnWrites();
  readonly #outputs: ResponseOutput[] = [];

  take(output: ResponseOutput, chunk: Chunk): void {
    if (!output.hasQueued) {
      this.#outputs.push(output);
    }
    output.queueChunk(chunk, this.#start);
  }

  /** Writes to some of the clients. @returns whether more are left */
  flush(limit: number): boolean {
    const writes = new ChunkWrites();
    for (const output of this.#outputs.splice(-limit)) {
      output.stageQueued(writes);
    }
    writes.flush();
    return this.#outputs.length > 0;
  }
}
