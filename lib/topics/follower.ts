import type { Feed, FeedDescription, ResponseOutput, EventStreamResponse } from '../connection/index.js';
import type { RepeatedReport } from '../errors/index.js';
import { ReplayReads } from '../limits/index.js';
import { BLOCK_EVENTS } from '../log/index.js';
import type { EventPage, LogEvent } from '../log/index.js';
import { Chunk, encodeEvent, parsePosition } from '../wire/index.js';
import type { SnapshotAnnouncement } from '../wire/index.js';
import { Backlog } from './backlog.js';
import type { FollowerHost } from './follower-host.js';
import { readRing } from './ring-reader.js';
import type { RingRead } from './ring-reader.js';
import { encodeSnapshots, hasSnapshot, placeStates, takeStates } from './snapshots.js';
import { findFrom, findResume, gapBefore } from './resume.js';
import { ResumeTrace } from './resume-trace.js';
import type { Start } from './resume.js';
import { Subscription } from './subscription.js';
import type { Subscriber, WriteTarget } from './subscription.js';
import type { ResetReason } from './topic.settings.js';

// A client that brought an id learns from it that the id was lost on the way, as in a service worker.
const NO_SNAPSHOTS: SnapshotAnnouncement = { snapshots: 0 };

/** The state of a follower that is behind. */
interface Lag {
  /** Events that were read, before the app's checks. */
  unread: RingRead | undefined;
  /** Events that passed the app's checks and wait to be written. */
  backlog: Backlog;
  /** The number of pending tasks: reading a page, taking snapshots. */
  waits: number;
  /** The deadline at which a client that reads nothing is closed. */
  limit: ReturnType<EventStreamResponse['schedule']> | undefined;
  /** Reads the log below the ring. */
  reads: ReplayReads | undefined;
  /** The sequence after which the client has resumed, if it has. */
  resumedAfter: number | undefined;
}

// The most that is written at once to a client that catches up.
const BATCH_EVENTS = 256;
const BATCH_BYTES = 65_536;

/**
 * A connection's place in the log. While it is live, it is offered each event as it comes. When the socket is full, it
 * gets no events and costs only its cursor. When the socket drains, it reads on from the cursor, from the ring or the
 * log, and is live again in the turn in which it reaches the head.
 */
export class Follower implements Feed, Subscriber {
  // Fields that are read for each event come first, side by side in memory.
  #mode: 'starting' | 'behind' | 'live' | 'over' = 'starting';
  /** All events up to here are written, withheld, or in the backlog. While live, offered events count too. */
  #cursor = 0;
  /** The sequence of the last id that was written, if any. */
  #lastId: number | undefined;
  readonly #output: ResponseOutput;
  readonly #host: FollowerHost;
  readonly connection: EventStreamResponse;
  // Most have one. A list of one takes as much memory as half of the follower.
  #subscriptions: Subscription | readonly Subscription[] = [];
  /** Set while it is not live. */
  #lag: Lag | undefined;
  /** Set while a client that brought an id is not live, if it is traced. */
  #trace: ResumeTrace | undefined;

  constructor(connection: EventStreamResponse, host: FollowerHost) {
    this.connection = connection;
    this.#output = connection.output;
    this.#host = host;
    connection.attachFeed(this);
    this.#trace = ResumeTrace.begin(this, host.tracer);
    // In the next microtask, so that patterns that are followed in one turn begin together.
    connection.whenOpen(() => queueMicrotask(() => this.#run(() => this.#begin())));
  }

  get isBehind(): boolean {
    return this.#mode !== 'live';
  }

  /** How many events of the log come after its place. It may be for some of them only. */
  get lagEvents(): number {
    return this.#mode === 'behind' ? Math.max(0, this.#host.tail.last - this.#cursor) : 0;
  }

  describe(): FeedDescription {
    const names = this.subscriptions.flatMap(({ patterns }) => patterns);
    return { kind: 'topics', names, isBehind: this.isBehind, lagEvents: this.lagEvents };
  }

  /** Limits the reports of the app's own checks, which run for each event. */
  get reports(): RepeatedReport {
    return this.#host.reports;
  }

  /** Counts an event that `authorize` withheld from the client. */
  countWithheld(topic: string): void {
    const { counts, reports } = this.#host;
    counts.withheld += 1;
    reports.debug('withheld', () => `authorize withheld an event of ${topic} from a client.`);
  }

  get subscriptions(): readonly Subscription[] {
    return this.#subscriptions instanceof Subscription ? [this.#subscriptions] : this.#subscriptions;
  }

  add(subscription: Subscription): void {
    const { subscriptions } = this;
    this.#subscriptions = subscriptions.length === 0 ? subscription : [...subscriptions, subscription];
    if (this.#lag) {
      // It was read without the new patterns.
      this.#lag.unread = undefined;
    }
    this.#share();
    this.#sendStateOf(subscription);
  }

  /** Shares events with all clients that follow the same, unless some are filtered for this one. */
  #share(): void {
    const [subscription, ...others] = this.subscriptions;
    // A client that follows nothing any more gets no events.
    if (subscription && this.connection.wantsSharing) {
      this.connection.shareFeed(others.length === 0 ? subscription.sharedKey : undefined);
    }
  }

  /** Removes a subscription. @returns whether it was there */
  remove(subscription: Subscription): boolean {
    const { subscriptions } = this;
    this.#subscriptions = subscriptions.filter((other) => other !== subscription);
    this.#share();
    return subscriptions.includes(subscription);
  }

  /** Sends the snapshot of a subscription that was added after the follower began. */
  #sendStateOf(subscription: Subscription): void {
    if (this.#mode === 'starting' || this.#mode === 'over' || !hasSnapshot([subscription])) {
      return;
    }
    this.#fallBehind();
    this.#run(() => this.#wait(() => this.#sendAdded([subscription])));
  }

  /** Sends the state of patterns that are new to a client which goes on exactly in the others. */
  async #sendAdded(subscriptions: readonly Subscription[]): Promise<void> {
    const { generation, settings, tail } = this.#host;
    const states = await takeStates(subscriptions, tail.position);
    if (this.#isOver || generation !== this.#host.generation) {
      return;
    }
    // Without an id: the client has one, and what follows this state is yet to come.
    const frames = states.map(({ data, type }) => encodeEvent({ data, type }, settings));
    this.#write(new Chunk([this.#announce({ snapshots: frames.length, added: true }), ...frames].join('')));
  }

  /** The frame that announces snapshots to a client that reads it. */
  #announce(announcement: SnapshotAnnouncement): string {
    const { settings } = this.#host;
    return this.connection.announces
      ? encodeEvent({ type: settings.cursorEvent, data: announcement }, settings)
      : '';
  }

  /** Offers an event that a subscription covers, as it comes. */
  offer(event: LogEvent, subscription: Subscription, target: WriteTarget): void {
    const { sequence } = event.record;
    if (this.#mode !== 'live' || sequence <= this.#cursor) {
      return;
    }
    if (!subscription.admits(event, this.#host.settings.authorize)) {
      return;
    }
    if (!this.#output.keepsUp) {
      this.#fallBehind(sequence - 1);
      return;
    }
    this.#cursor = sequence;
    this.#lastId = sequence;
    const chunk = subscription.chunkOf(event);
    this.#output.countEvents(1);
    target.take(this.#output, chunk);
  }

  onFull(): void {
    if (this.#mode === 'behind') {
      this.#watchLag();
    } else {
      this.#fallBehind();
    }
  }

  onDrain(): void {
    if (this.#mode === 'behind') {
      this.#watchLag();
      this.#host.schedule(this);
    }
  }

  /** Takes one step towards the head: reads or writes as much as is allowed at once. */
  catchUp(): void {
    const lag = this.#lag;
    if (!lag || lag.waits > 0 || this.connection.isClosed || !this.#output.keepsUp) {
      return;
    }
    const readsAllFirst = this.#wantsLatest;
    const hasRead = readsAllFirst ? this.#isAtHead : lag.backlog.length > 0;
    if (!hasRead && !this.#readOn(lag)) {
      return;
    }
    if (!readsAllFirst || this.#isAtHead) {
      this.#writeBacklog(lag);
    }
    if (lag.backlog.length === 0 && this.#isAtHead && this.#output.keepsUp) {
      this.#goLive();
    } else if (this.#output.keepsUp) {
      this.#host.schedule(this);
    }
  }

  /** Ends the stream after an error. The client may come back. */
  onBroken(error: unknown): void {
    this.connection.onBroken(error);
  }

  /** Starts over: the log was replaced, or has lost the next events. */
  reset(reason: ResetReason): void {
    if (this.#mode === 'over' || this.#mode === 'starting') {
      return;
    }
    this.#fallBehind();
    this.#run(() => this.#wait(() => this.#startOver(reason)));
  }

  onClosed(): void {
    this.#mode = 'over';
    this.#endTrace('left');
    this.connection.cancel(this.#lag?.limit);
    this.#lag?.reads?.stop();
    this.#lag = undefined;
    this.#host.leave(this);
  }

  /** Sends a quiet client the log's position, before the log drops the event of the client's own id. */
  refreshCursor(maxBehind: number): void {
    const { offered, tail } = this.#host;
    if (this.#mode !== 'live' || (this.#lastId ?? 0) + maxBehind >= offered || !this.#output.keepsUp) {
      return;
    }
    // Not the tail's position: newer events are still to be offered, and the client would miss them.
    const event = tail.ring.at(offered);
    if (event) {
      this.#cursor = Math.max(this.#cursor, offered);
      this.#writeCursor(event.position, offered);
    }
  }

  get #isOver(): boolean {
    return this.#mode === 'over';
  }

  async #begin(): Promise<void> {
    const { tail, counts } = this.#host;
    let generation: number;
    let start: Start;
    do {
      generation = this.#host.generation;
      start = await this.#findStart();
      if (this.#isOver) {
        return;
      }
      // If the log was replaced meanwhile, the found place belongs to another event now.
    } while (generation !== this.#host.generation);
    this.#mode = 'behind';
    this.#lag = newLag();
    if (!this.#output.keepsUp) {
      this.#watchLag();
    }
    if (start.kind === 'reset') {
      await this.#wait(() => this.#startOver(start.reason));
      return;
    }
    counts[start.kind === 'resume' ? start.from : 'new'] += 1;
    if (this.#trace && start.kind === 'resume') {
      this.#trace.from = start.from;
    }
    if (start.kind === 'new' && hasSnapshot(this.subscriptions)) {
      await this.#wait(() => this.#sendSnapshots());
      return;
    }
    this.#cursor = Math.min(start.sequence, tail.last);
    this.#lastId = start.kind === 'resume' ? start.sequence : undefined;
    this.#lag.resumedAfter = this.#lastId;
    const added = start.kind === 'resume' ? this.#added : [];
    if (added.length > 0) {
      await this.#wait(() => this.#sendAdded(added));
      return;
    }
    this.catchUp();
  }

  #findStart(): Promise<Start> {
    const { tail, settings } = this.#host;
    const { resumeId } = this.connection;
    const from = this.subscriptions[0]?.options.from ?? 'now';
    return resumeId === undefined
      ? findFrom(tail, from, settings.maxReplayEvents)
      : findResume(tail, resumeId, settings.maxReplayEvents);
  }

  /** What the client names as new to it, as far as it has a snapshot. */
  get #added(): Subscription[] {
    const { addedTopics } = this.connection;
    return this.subscriptions.filter(
      (subscription) =>
        hasSnapshot([subscription]) && subscription.patterns.some((pattern) => addedTopics.includes(pattern)),
    );
  }

  /** Goes on from the head, with a snapshot or a reset. */
  async #startOver(reason: ResetReason): Promise<void> {
    const { tail, settings, counts } = this.#host;
    counts.resets[reason] += 1;
    this.#lag!.unread = undefined;
    this.#lag!.backlog = new Backlog();
    if (hasSnapshot(this.subscriptions)) {
      await this.#sendSnapshots();
      this.#endTrace('snapshot', { reason });
      return;
    }
    this.#endTrace('reset', { reason });
    this.#cursor = tail.last;
    this.#lastId = tail.last;
    this.#write(
      new Chunk(encodeEvent({ type: settings.resetEvent, id: tail.position, data: { reason } }, settings)),
    );
  }

  async #sendSnapshots(): Promise<void> {
    const { tail, settings, counts, generation } = this.#host;
    const at = tail.position;
    const states = await takeStates(this.subscriptions, at);
    if (this.connection.isClosed || generation !== this.#host.generation) {
      return;
    }
    const snapshots = await placeStates(states, at, tail);
    // If the log was replaced meanwhile, the reset has asked for the new states.
    if (this.connection.isClosed || generation !== this.#host.generation) {
      return;
    }
    counts.snapshots += 1;
    this.#cursor = parsePosition(snapshots.position)!.sequence;
    this.#lastId = this.#cursor;
    const announcement = this.#announce({ snapshots: snapshots.states.length });
    this.#write(new Chunk(`${announcement}${encodeSnapshots(snapshots, settings)}`));
  }

  /** Runs a task whose failure ends the stream. */
  #run(task: () => Promise<void>): void {
    task().catch((error: unknown) => this.#fail(error));
  }

  /** Runs a task, and reads on after it. Nothing is read meanwhile. */
  async #wait(task: () => Promise<void>): Promise<void> {
    const lag = this.#lag!;
    lag.waits += 1;
    try {
      await task();
    } finally {
      lag.waits -= 1;
    }
    if (!this.#isOver) {
      this.#host.schedule(this);
    }
  }

  get #isAtHead(): boolean {
    return this.#cursor === this.#host.tail.last;
  }

  /** Reads the next events. @returns false if a page of the log is being read */
  #readOn(lag: Lag): boolean {
    const { ring } = this.#host.tail;
    if (!lag.unread && this.#cursor < ring.first - 1) {
      this.#run(() => this.#wait(() => this.#readPage()));
      return false;
    }
    lag.unread ??= readRing(ring, this.subscriptions, this.#cursor, BATCH_EVENTS);
    const { cursor, rest } = lag.backlog.fill(lag.unread, this.subscriptions, this.#host.settings.authorize);
    this.#cursor = cursor;
    lag.unread = rest;
    return true;
  }

  get #wantsLatest(): boolean {
    return this.subscriptions.some(({ wantsLatest }) => wantsLatest);
  }

  /** Reads pages below the ring until one has an event for the client. */
  async #readPage(): Promise<void> {
    const { tail, generation, selections } = this.#host;
    do {
      const page = await this.#nextPage();
      if (!page || this.connection.isClosed || generation !== this.#host.generation) {
        return;
      }
      const reason = gapBefore(page, tail, this.#cursor);
      if (reason) {
        await this.#startOver(reason);
        return;
      }
      // The log may be ahead of the tail: later events are offered when the tail receives them.
      const upTo = Math.min(page.events.at(-1)!.record.sequence, tail.last);
      const events = selections.select(page, this.subscriptions);
      if (events.length > 0 && events[0]!.record.sequence <= upTo) {
        this.#lag!.unread = { events, upTo };
        return;
      }
      this.#cursor = upTo;
    } while (this.#cursor < tail.ring.first - 1);
  }

  #writeBacklog({ backlog }: Lag): void {
    const batch = backlog.take(BATCH_EVENTS, BATCH_BYTES);
    if (batch) {
      this.#lastId = batch.last.record.sequence;
      this.#output.countEvents(batch.frames.length);
      if (this.#trace) {
        this.#trace.events += batch.frames.length;
      }
      this.#output.writeChunks(batch.frames);
    }
  }

  /** Reads the next page. @returns undefined if the client starts over, or has left */
  async #nextPage(): Promise<EventPage | undefined> {
    const { limits, tail, generation } = this.#host;
    const reads = (this.#lag!.reads ??= new ReplayReads(this.connection, limits, BLOCK_EVENTS));
    const page = await reads.next(() =>
      this.connection.isClosed || generation !== this.#host.generation
        ? undefined
        : tail.pageAfter(this.#cursor),
    );
    if (page === 'limit') {
      await this.#startOver('limit');
      return undefined;
    }
    return page;
  }

  #write(chunk: Chunk): void {
    this.#output.writeChunk(chunk);
  }

  #goLive(): void {
    const resumedAfter = this.#lag?.resumedAfter;
    this.#mode = 'live';
    this.#endTrace('resumed');
    this.connection.cancel(this.#lag?.limit);
    this.#lag = undefined;
    // Without an id, a client that loses its connection now would come back as a new one, and miss events. If none of
    // what it missed was for it, the next resume would read all of that again.
    const gotNothing = resumedAfter === this.#lastId && resumedAfter !== this.#host.tail.last;
    if (this.#lastId === undefined || gotNothing) {
      const data = this.connection.announces ? NO_SNAPSHOTS : {};
      this.#writeCursor(this.#host.tail.position, this.#host.tail.last, data);
    }
    this.connection.writeHeld();
  }

  #writeCursor(id: string, sequence: number, data: object = {}): void {
    const { settings } = this.#host;
    this.#lastId = sequence;
    this.#write(new Chunk(encodeEvent({ type: settings.cursorEvent, id, data }, settings)));
  }

  #fallBehind(cursor = 0): void {
    if (this.#mode === 'live') {
      this.#mode = 'behind';
      this.#lag = newLag();
      this.#cursor = Math.max(this.#cursor, this.#host.offered, cursor);
      this.#watchLag();
    }
  }

  /** Closes the client if it reads nothing for `maxLagMs`. */
  #watchLag(): void {
    const { connection } = this;
    const lag = this.#lag!;
    connection.cancel(lag.limit);
    lag.limit = connection.schedule(this.#host.settings.maxLagMs, closeIfStuck, connection);
  }

  /** Ends the trace, unless it has ended: a live client does not keep its span. */
  #endTrace(...end: Parameters<ResumeTrace['end']>): void {
    this.#trace?.end(...end);
    this.#trace = undefined;
  }

  #fail(error: unknown): void {
    if (!this.connection.isClosed) {
      this.#endTrace('failed', { error });
      this.#host.reportFailed(error);
      // Without an id: the client keeps its own, and comes back with it.
      this.connection.interrupt('error');
    }
  }
}

function newLag(): Lag {
  return {
    unread: undefined,
    backlog: new Backlog(),
    waits: 0,
    limit: undefined,
    reads: undefined,
    resumedAfter: undefined,
  };
}

function closeIfStuck(connection: EventStreamResponse): void {
  if (!connection.output.keepsUp) {
    connection.destroy('slow');
  }
}
