import { Observable } from 'rxjs';
import { CatchUp, Follow } from '../connection/index.js';
import { RepeatedReport, SseError } from '../errors/index.js';
import type { Following, FollowOptions, Patterns, EventStreamResponse } from '../connection/index.js';
import type { Reporter } from '../errors/index.js';
import { DEFAULT_LIMITS, Limits } from '../limits/index.js';
import { LogTail, warnOfOtherProcesses } from '../log/index.js';
import type { EventLogStore, LogEvent, LogHealth, LossReason, TailListener } from '../log/index.js';
import { formatPosition, nameOf, parsePattern } from '../wire/index.js';
import type { Position, PositionParts, SseEventInput, TopicEvent, TypedPattern } from '../wire/index.js';
import { FanOut, inTurns } from './fan-out.js';
import { Follower } from './follower.js';
import type { FollowCounts, FollowerHost, FollowerLag } from './follower-host.js';
import { lossMessage } from './losses.js';
import { PageSelections } from './page-selections.js';
import { PatternTrie } from './pattern-trie.js';
import { Presence } from './presence/index.js';
import type { PublishCounts } from './publish-counts.js';
import { Publisher } from './publisher.js';
import { Subscription } from './subscription.js';
import { checkEventsOptions, checkFollowOptions } from './topic.options.js';
import type { TopicEventsOptions } from './topic.options.js';
import type { ResetReason, TopicSettings } from './topic.settings.js';
import type { TopicTracer } from './topic-tracer.js';
import { Watcher } from './watcher.js';
import type { WatcherHost } from './watcher.js';

/** How long a closing app waits for the tail of its log. */
const LAST_EVENTS_MS = 500;

/** The topics of one log. Each published event reaches all followers, in the order of the log. */
export class Topics implements Following, TailListener, FollowerHost, WatcherHost {
  readonly tail: LogTail;
  readonly settings: TopicSettings;
  readonly presence: Presence;
  readonly limits: Limits;
  readonly selections = new PageSelections();
  readonly counts: FollowCounts = {
    new: 0,
    ring: 0,
    log: 0,
    snapshots: 0,
    withheld: 0,
    resets: { trimmed: 0, diverged: 0, regressed: 0, epoch: 0, limit: 0, invalid: 0 },
  };
  /** How often this process has lost its place in the log, by reason. */
  readonly losses: Record<LossReason, number> = { trimmed: 0, diverged: 0, regressed: 0, epoch: 0 };
  /** Events that this process has received from the log. */
  received = 0;
  readonly #store: EventLogStore;
  readonly #reporter: Reporter;
  readonly #publisher: Publisher;
  readonly #subscriptions = new PatternTrie<Subscription>();
  readonly #watchers = new PatternTrie<Watcher>();
  readonly #allWatchers = new Set<Watcher>();
  readonly #followers = new Set<Follower>();
  readonly #fanOut: FanOut;
  readonly #catchUp = new CatchUp<Follower>((follower) => this.#try(follower, () => follower.catchUp()));
  #refreshedAt = 0;
  /** No event is delivered any more. */
  #isOver = false;
  #isStarted = false;
  #closing: Promise<void> | undefined;
  readonly reports: RepeatedReport;

  constructor(
    store: EventLogStore,
    settings: TopicSettings,
    reporter: Reporter,
    limits = new Limits(DEFAULT_LIMITS, reporter),
  ) {
    this.#store = store;
    this.presence = new Presence(store, settings.presence, reporter);
    this.limits = limits;
    this.#reporter = reporter;
    this.reports = new RepeatedReport(reporter);
    this.settings = settings;
    this.#publisher = new Publisher(store, settings, reporter);
    const { ringEvents, ringBytes } = settings;
    this.tail = new LogTail(store.log, { ringEvents, ringBytes, listener: this });
    this.#fanOut = new FanOut({
      subscriptions: this.#subscriptions,
      watchers: this.#watchers,
      onOfferFailed: (receiver, error) => this.#onFailed(receiver, error),
      onBatchFailed: (error) =>
        this.#reporter.error('Events could not be offered to all who follow them.', error),
      afterBatch: () => this.#refreshCursors(),
    });
  }

  /**
   * Starts following the log. Resolves when clients can follow.
   *
   * @throws the error of the log, which is then closed
   */
  async start(): Promise<void> {
    try {
      await this.tail.start();
    } catch (error) {
      await this.#closeFailed();
      throw error;
    }
    this.#isStarted = true;
    this.#fanOut.start(this.tail.last);
    this.#refreshedAt = this.tail.last;
  }

  /** Closes the log after a failed start. Nest calls no hook of an app that does not start. */
  async #closeFailed(): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      this.#reporter.error('The log, which could not be followed, could not be closed either.', error);
    }
  }

  get health(): LogHealth {
    return this.#store.health;
  }

  get publishes(): PublishCounts {
    return this.#publisher.counts;
  }

  get offered(): number {
    return this.#fanOut.offered;
  }

  get generation(): number {
    return this.#fanOut.generation;
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** The events that are received and not offered to all followers yet, and how long it took for those before them. */
  get fanOut(): Pick<FanOut, 'pending' | 'durations'> {
    return this.#fanOut;
  }

  /** Counts the followers that are behind. It looks at all of them. */
  lag(): FollowerLag {
    let behind = 0;
    let maxEvents = 0;
    for (const { isBehind, lagEvents } of this.#followers) {
      behind += isBehind ? 1 : 0;
      maxEvents = Math.max(maxEvents, lagEvents);
    }
    return { behind, maxEvents };
  }

  /** Undefined if nothing is traced. */
  get tracer(): TopicTracer | undefined {
    return this.#publisher.tracer;
  }

  set tracer(tracer: TopicTracer | undefined) {
    this.#publisher.tracer = tracer;
  }

  /** See {@link Publisher.publish}. */
  async publish(named: string | TypedPattern<object>, event: SseEventInput): Promise<Position> {
    return this.#publisher.publish(nameOf(named) as string, event);
  }

  /** See {@link Publisher.publishWithin}. */
  publishWithin(
    transaction: unknown,
    named: string | TypedPattern<object>,
    event: SseEventInput,
  ): Promise<void> {
    return this.#publisher.publishWithin(transaction, nameOf(named) as string, event);
  }

  async position(): Promise<Position> {
    return formatPosition(await this.#store.log.head());
  }

  follow(connection: EventStreamResponse, patterns: Patterns, options: FollowOptions): Follow {
    warnOfOtherProcesses(this.#store, this.#reporter);
    const names = [patterns].flat().map(nameOf) as string[];
    names.forEach(parsePattern);
    checkFollowOptions(options);
    if (names.length === 0) {
      throw new SseError('topic-invalid', 'follow() takes one pattern or several, got an empty list.');
    }
    if (connection.isClosed) {
      return new Follow(connection, () => undefined);
    }
    const follower = this.#followerOf(connection, names.length);
    const endPresence = options.presence && this.presence.attend(connection, names, options.presence);
    this.#followers.add(follower);
    const subscription = new Subscription(
      follower,
      names.length === 1 ? names[0]! : names,
      options,
      this.settings.authorize,
      endPresence,
    );
    this.#add(subscription);
    return new Follow(connection, () => this.#remove(subscription));
  }

  /** @throws SseError `topic-invalid` for too many patterns; `misuse` if a run feeds the connection */
  #followerOf(connection: EventStreamResponse, patterns: number): Follower {
    const { feed } = connection;
    // A module has one log, so a follower that feeds the connection belongs to these topics.
    const feeding = feed instanceof Follower ? feed : undefined;
    this.#refuseTooMany(feeding, patterns);
    return feeding ?? new Follower(connection, this);
  }

  /**
   * Returns the events of a pattern, for code on the server.
   *
   * @throws SseError `topic-invalid`, `options-invalid`
   */
  events(named: string | TypedPattern<object>, options: TopicEventsOptions): Observable<TopicEvent> {
    const pattern = nameOf(named) as string;
    const tokens = parsePattern(pattern);
    checkEventsOptions(options);
    return new Observable((subscriber) => {
      const watcher = new Watcher(pattern, this, subscriber, options);
      if (this.#isOver) {
        watcher.close();
        return undefined;
      }
      this.#watchers.add(tokens, watcher);
      this.#allWatchers.add(watcher);
      watcher.start();
      return () => {
        watcher.stop();
        this.#watchers.remove(tokens, watcher);
        this.#allWatchers.delete(watcher);
      };
    });
  }

  /** Refuses new events. Resolves when all accepted events have been offered to all receivers. */
  async drain(): Promise<void> {
    await this.#publisher.close();
    if (!this.#isStarted) {
      return;
    }
    try {
      // The log acknowledges an event before the tail has it, and the tail may never come.
      const { sequence } = await this.#store.log.head();
      await this.tail.reaches(sequence, LAST_EVENTS_MS);
    } catch (error) {
      this.#reporter.error('The log does not answer; the streams end without its last events.', error);
    }
    await this.#fanOut.idle();
  }

  close(): Promise<void> {
    void this.#publisher.close();
    this.#isOver = true;
    this.#allWatchers.forEach((watcher) => watcher.close());
    this.presence.close();
    this.tail.stop();
    this.#closing ??= this.#store.close();
    return this.#closing;
  }

  onEvents(events: readonly LogEvent[]): Promise<void> | undefined {
    this.received += events.length;
    return this.#fanOut.push(events);
  }

  onReset(reason: LossReason): void {
    this.losses[reason] += 1;
    this.reports.warn(`loss: ${reason}`, lossMessage(reason));
    this.#fanOut.restart(this.tail.last);
    this.#refreshedAt = this.tail.last;
    for (const follower of this.#followers) {
      this.#try(follower, () => follower.reset(reason));
    }
    for (const watcher of this.#allWatchers) {
      this.#try(watcher, () => watcher.reset(reason));
    }
  }

  /** Calls a function for one of many receivers. An error concerns that receiver alone. */
  #try(one: Follower | Watcher, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#onFailed(one, error);
    }
  }

  #onFailed(one: Follower | Subscription | Watcher, error: unknown): void {
    if (one instanceof Subscription) {
      one.follower.onBroken(error);
    } else if (one instanceof Follower) {
      one.onBroken(error);
    } else {
      this.reports.error(
        'events',
        'What subscribes to events() failed; it goes on with the next one.',
        error,
      );
    }
  }

  /** Reports a failed start. The number is limited: while the log is away, all returning clients fail alike. */
  reportFailed(error: unknown): void {
    const message = 'A client could not be given its place in the log; its stream was ended.';
    this.reports.error('client', message, error);
  }

  head(): Promise<PositionParts> {
    return this.#store.log.head();
  }

  reportGap(pattern: string, reason: ResetReason): void {
    this.reports.warn(
      `gap ${reason}`,
      `Code on the server that follows ${pattern} misses events that cannot be replayed (${reason}). It goes on with ` +
        'what comes next; onGap of events() tells it of that.',
    );
  }

  reportUnread(error: unknown): void {
    this.reports.error('unread', 'The log cannot be read for code on the server, and is asked again.', error);
  }

  reportFailedGap(error: unknown): void {
    this.reports.error('onGap', 'An onGap of events() threw.', error);
  }

  schedule(follower: Follower): void {
    this.#catchUp.schedule(follower);
  }

  leave(follower: Follower): void {
    this.#followers.delete(follower);
    this.#catchUp.cancel(follower);
    follower.subscriptions.forEach((subscription) => this.#removePatterns(subscription));
  }

  #refuseTooMany(follower: Follower | undefined, more: number): void {
    const has = follower?.subscriptions.reduce((sum, { patterns }) => sum + patterns.length, 0) ?? 0;
    if (has + more > this.settings.maxPatterns) {
      this.limits.count('patternsPerConnection');
      throw new SseError(
        'topic-invalid',
        `A connection follows ${this.settings.maxPatterns} patterns at most; this one would follow ${has + more}. ` +
          'Follow a wider pattern with a filter, or set limits.patternsPerConnection.',
      );
    }
  }

  #add(subscription: Subscription): void {
    subscription.follower.add(subscription);
    for (const pattern of subscription.patterns) {
      this.#subscriptions.add(pattern.split('.'), subscription);
    }
  }

  #remove(subscription: Subscription): void {
    if (subscription.follower.remove(subscription)) {
      this.#removePatterns(subscription);
    }
  }

  #removePatterns(subscription: Subscription): void {
    subscription.endPresence?.();
    for (const pattern of subscription.patterns) {
      this.#subscriptions.remove(pattern.split('.'), subscription);
    }
  }

  /** Sends new cursors from time to time, so that the ids of quiet clients stay within the ring. */
  *#refreshCursors(): Generator<void, void> {
    const { offered } = this.#fanOut;
    const maxBehind = Math.floor(this.settings.ringEvents / 2);
    if (offered - this.#refreshedAt < Math.max(1, Math.floor(maxBehind / 2))) {
      return;
    }
    this.#refreshedAt = offered;
    yield* inTurns(this.#followers, (follower) =>
      this.#try(follower, () => follower.refreshCursor(maxBehind)),
    );
  }
}
