import type { Feed, ResponseOutput, EventStreamResponse } from '../connection/index.js';
import type { RepeatedReport } from '../errors/index.js';
import type { LogEvent, LogTail } from '../log/index.js';
import { Chunk, encodeEvent, parsePosition } from '../wire/index.js';
import { Backlog } from './backlog.js';
import type { PageSelections } from './page-selections.js';
import { readRing } from './ring-reader.js';
import type { RingRead } from './ring-reader.js';
import { encodeSnapshots, hasSnapshot, placeStates, takeStates } from './snapshots.js';
import { findFrom, findResume, gapBefore } from './resume.js';
import type { Start } from './resume.js';
import { Subscription } from './subscription.js';
import type { Subscriber, WriteTarget } from './subscription.js';
import type { ResetReason, TopicSettings } from './topic.settings.js';

/** What a follower keeps while it is behind. */
interface Lag {
  /** Read from the ring or the log; the app has not been asked yet which of it the client gets. */
  unread: RingRead | undefined;
  /** What the client gets of what was read. */
  backlog: Backlog;
  /** How many things other than the socket it waits for: a page, snapshots. */
  waits: number;
  /** When a client that reads nothing is closed. */
  limit: ReturnType<EventStreamResponse['schedule']> | undefined;
}

/** What a follower needs of the topics that it stands in. */
export interface FollowerHost {
  /** Of what comes for each event and client. */
  readonly reports: RepeatedReport;
  /** Says that a client could not be given its place in the log, and why. */
  reportFailed(error: unknown): void;
  readonly tail: LogTail;
  readonly settings: TopicSettings;
  readonly selections: PageSelections;
  readonly counts: FollowCounts;
  /** Everything up to this sequence has been offered to all who are live. */
  readonly offered: number;
  /**
   * Generation of the log. It increases when the log is replaced; discard answers to requests made in an earlier
   * generation.
   */
  readonly generation: number;
  /** Has `catchUp` called in a turn to come. */
  schedule(follower: Follower): void;
  /** It ended: take its subscriptions away. */
  leave(follower: Follower): void;
}

/** How clients began, for the eyes of operators. */
export interface FollowCounts {
  new: number;
  ring: number;
  log: number;
  snapshots: number;
  /** Events that `authorize` kept from a client. */
  withheld: number;
  resets: Record<ResetReason, number>;
}

// What is written at once to a client that catches up.
const BATCH_EVENTS = 256;
const BATCH_BYTES = 65_536;
/**
 * A connection's place in the log. Live, it is offered each event as it comes. When its socket
 * takes no more it gets nothing, and costs nothing but its cursor; when the socket drains it reads
 * on from there, out of the ring or the log, and is live again in the turn in which it meets the head.
 */
export class Follower implements Feed, Subscriber {
  // What is looked at for each event stands first, side by side in memory.
  #mode: 'starting' | 'behind' | 'live' | 'over' = 'starting';
  /** All up to here has been dealt with; while it is live, what was offered counts too. */
  #cursor = 0;
  /** The sequence of the last id that the client has got, if any. */
  #lastId: number | undefined;
  readonly #output: ResponseOutput;
  readonly #host: FollowerHost;
  readonly connection: EventStreamResponse;
  // Most have one: a list of one takes as much as half of all this.
  #subscriptions: Subscription | readonly Subscription[] = [];
  /** There while it is not live. */
  #lag: Lag | undefined;

  constructor(connection: EventStreamResponse, host: FollowerHost) {
    this.connection = connection;
    this.#output = connection.output;
    this.#host = host;
    connection.attachFeed(this);
    // In the next microtask: patterns that are followed in the same breath begin together.
    connection.whenOpen(() => queueMicrotask(() => this.#run(() => this.#begin())));
  }

  get isBehind(): boolean {
    return this.#mode !== 'live';
  }

  /** Reports of the app's own checks, which come for each event. */
  get reports(): RepeatedReport {
    return this.#host.reports;
  }

  /** The app keeps an event from the client. */
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
      // It was read for the patterns before this one.
      this.#lag.unread = undefined;
    }
    this.#sendStateOf(subscription);
  }

  /** @returns whether it was there */
  remove(subscription: Subscription): boolean {
    const { subscriptions } = this;
    this.#subscriptions = subscriptions.filter((other) => other !== subscription);
    return subscriptions.includes(subscription);
  }

  /** What is followed after it had begun has a state of its own. */
  #sendStateOf({ snapshot }: Subscription): void {
    if (this.#mode === 'starting' || this.#mode === 'over' || !snapshot) {
      return;
    }
    this.#fallBehind();
    const { generation } = this.#host;
    const sendState = async (): Promise<void> => {
      const { data, type } = await snapshot(this.#host.tail.position);
      if (generation !== this.#host.generation) {
        return;
      }
      // Without an id: the client has one, and what follows this state is yet to come.
      this.#write(new Chunk(encodeEvent({ data, type }, this.#host.settings)));
    };
    this.#run(() => this.#wait(sendState));
  }

  /** An event that a subscription covers, as it comes. */
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

  /** One step towards the head: as much as is read, or written, at once. */
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

  /** Something threw at it: its stream ends, and its client may come back. */
  onBroken(error: unknown): void {
    this.connection.onBroken(error);
  }

  /** The log was replaced, or has lost what comes next. */
  reset(reason: ResetReason): void {
    if (this.#mode === 'over' || this.#mode === 'starting') {
      return;
    }
    this.#fallBehind();
    this.#run(() => this.#wait(() => this.#startAnew(reason)));
  }

  onClosed(): void {
    this.#mode = 'over';
    this.connection.cancel(this.#lag?.limit);
    this.#lag = undefined;
    this.#host.leave(this);
  }

  /** A quiet client is told the place of the log, before the one that it knows is trimmed. */
  refreshCursor(maxBehind: number): void {
    const { offered, tail } = this.#host;
    if (this.#mode !== 'live' || (this.#lastId ?? 0) + maxBehind >= offered || !this.#output.keepsUp) {
      return;
    }
    // Not the tail's own place: what has come in since is still to be offered, and would be missed.
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
      // A place in a log that was replaced meanwhile is another event's in the next.
    } while (generation !== this.#host.generation);
    this.#mode = 'behind';
    this.#lag = newLag();
    if (!this.#output.keepsUp) {
      this.#watchLag();
    }
    if (start.kind === 'reset') {
      await this.#wait(() => this.#startAnew(start.reason));
      return;
    }
    counts[start.kind === 'resume' ? start.from : 'new'] += 1;
    if (start.kind === 'new' && hasSnapshot(this.subscriptions)) {
      await this.#wait(() => this.#sendSnapshots());
      return;
    }
    this.#cursor = Math.min(start.sequence, tail.last);
    this.#lastId = start.kind === 'resume' ? start.sequence : undefined;
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

  /** From the head on, with the state or the word that something is missing. */
  async #startAnew(reason: ResetReason): Promise<void> {
    const { tail, settings, counts } = this.#host;
    counts.resets[reason] += 1;
    this.#lag!.unread = undefined;
    this.#lag!.backlog = new Backlog();
    if (hasSnapshot(this.subscriptions)) {
      await this.#sendSnapshots();
      return;
    }
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
    // If the log was replaced meanwhile, the reset has asked for the states anew.
    if (this.connection.isClosed || generation !== this.#host.generation) {
      return;
    }
    counts.snapshots += 1;
    this.#cursor = parsePosition(snapshots.position)!.sequence;
    this.#lastId = this.#cursor;
    this.#write(new Chunk(encodeSnapshots(snapshots, settings)));
  }

  /** Starts something whose failure ends the stream. */
  #run(task: () => Promise<void>): void {
    task().catch((error: unknown) => this.#fail(error));
  }

  /** Does something that takes its time, and reads on after it. */
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

  /** Reads a step further. @returns false if a page must be waited for */
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

  /** Reads below the ring until a page has something for the client. */
  async #readPage(): Promise<void> {
    const { tail, generation, selections } = this.#host;
    do {
      const page = await tail.pageAfter(this.#cursor);
      if (this.connection.isClosed || generation !== this.#host.generation) {
        return;
      }
      const reason = gapBefore(page, tail, this.#cursor);
      if (reason) {
        await this.#startAnew(reason);
        return;
      }
      // The log may be ahead of its tail: what the tail has not brought is offered when it does.
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
      this.#write(batch.frames);
    }
  }

  #write(chunk: Chunk): void {
    this.#output.writeChunk(chunk);
  }

  #goLive(): void {
    this.#mode = 'live';
    this.connection.cancel(this.#lag?.limit);
    this.#lag = undefined;
    // Without an id a client that is cut off now would come back as a new one, and miss what came between.
    if (this.#lastId === undefined) {
      this.#writeCursor(this.#host.tail.position, this.#host.tail.last);
    }
    this.connection.writeHeld();
  }

  #writeCursor(id: string, sequence: number): void {
    const { settings } = this.#host;
    this.#lastId = sequence;
    this.#write(new Chunk(encodeEvent({ type: settings.cursorEvent, id, data: {} }, settings)));
  }

  #fallBehind(cursor = 0): void {
    if (this.#mode === 'live') {
      this.#mode = 'behind';
      this.#lag = newLag();
      this.#cursor = Math.max(this.#cursor, this.#host.offered, cursor);
      this.#watchLag();
    }
  }

  /** Closes a client that reads nothing at all for too long. */
  #watchLag(): void {
    const { connection } = this;
    const lag = this.#lag!;
    connection.cancel(lag.limit);
    lag.limit = connection.schedule(this.#host.settings.maxLagMs, closeIfStuck, connection);
  }

  #fail(error: unknown): void {
    if (!this.connection.isClosed) {
      this.#host.reportFailed(error);
      // Without an id: the client keeps its own, and tries again with it.
      this.connection.interrupt('error');
    }
  }
}

function newLag(): Lag {
  return { unread: undefined, backlog: new Backlog(), waits: 0, limit: undefined };
}

function closeIfStuck(connection: EventStreamResponse): void {
  if (!connection.output.keepsUp) {
    connection.destroy('slow');
  }
}
