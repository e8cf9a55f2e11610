import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { CatchUp, EventStreamResponse, Feed, FeedDescription } from '../../connection/index.js';
import { MASKED_FAILURE } from '../../errors/index.js';
import { MAX_REPLAY_WAIT_MS, ReplayReads } from '../../limits/index.js';
import type { Limits } from '../../limits/index.js';
import { BLOCK_EVENTS } from '../../log/index.js';
import type { LogEvent, LogTail } from '../../log/index.js';
import { FIRST_BYTE_MS } from '../../stream/index.js';
import { Chunk } from '../../wire/index.js';
import type { PositionParts } from '../../wire/index.js';
import { chunkOf } from './batch.js';
import type { RunBatch } from './batch.js';
import { endingOf, kindOf } from '../record/index.js';
import type { RunEnding } from '../record/index.js';

/** A run, as the client that follows it sees it. */
export interface FollowedRun {
  readonly id: string;
  readonly epoch: string;
  /** The owner is the key of what is read for its clients. */
  readonly begin: { readonly owner?: string };
  readonly tail: LogTail;
  /** Whether the tail is followed. */
  readonly isFollowing: boolean;
  /** Whether the run goes on, as far as this instance knows. */
  readonly isLive: boolean;
  /** Resolves when the tail is followed. */
  start(): Promise<void>;
  /** What a client gets if the log does not go on. */
  closingFramesOfLoss(): ClosingFramesOfLoss;
  report(message: string, error: unknown): void;
  /** Called when the client takes more again. */
  onClientDrained(): void;
  /** Called when the client is attached no more. */
  remove(follower: RunFollower): void;
}

/** What a client gets if the log of its run does not go on. */
export interface ClosingFramesOfLoss {
  readonly frames: readonly Chunk[];
  readonly isCut: boolean;
  readonly failure: NonNullable<RunEnding['failure']>;
}

/** The outcome of a client that was attached to a run. */
export type FollowOutcome =
  /** The client has got the run to its end, or its connection has closed. */
  | { readonly kind: 'closed' }
  /** The run failed without an item, and nothing was sent: the response can still have a status. */
  | { readonly kind: 'failed'; readonly failure: NonNullable<RunEnding['failure']> };

// The most that is written at once to a client that catches up.
const BATCH_EVENTS = 256;
const BATCH_BYTES = 65_536;

/**
 * A client that is attached to a run. It gets the records from its place on, as its socket takes them, and its response
 * ends with the run. Its headers wait for the first event, 3 s at most; a client that comes back gets them at once.
 */
export class RunFollower implements Feed {
  readonly connection: EventStreamResponse;
  readonly outcome: Promise<FollowOutcome>;
  readonly #view: FollowedRun;
  readonly #wheel: DeadlineWheel;
  readonly #maxLagMs: number;
  readonly #limits: Limits;
  readonly #turns: CatchUp<RunFollower>;
  /** Reads the log below the ring. */
  #reads: ReplayReads | undefined;
  #resolve!: (outcome: FollowOutcome) => void;
  #mode: 'behind' | 'live' | 'disposed' = 'behind';
  #cursor: number;
  /** Events that were read already. They are written before the log is asked for more. */
  #ahead: readonly LogEvent[];
  /** The place up to which the log was read apart from the tail, until the tail is known to go on from there. */
  #readTo: PositionParts | undefined;
  /** Whether it waits for the log. */
  #isWaiting = false;
  /** The closing frames of a run without items. If it failed, the client may get a status instead. */
  #withheld: LogEvent[] = [];
  #commitAt: Deadline | undefined;
  #lagLimit: Deadline | undefined;
  #hasEnded = false;
  #events = 0;
  #bytes = 0;

  /**
   * @param start - `cursor` is the sequence after which the client begins; the events in `ahead` follow it; `readTo` is
   * the place of the last event that was read from the log, unless the tail has it
   */
  constructor(
    connection: EventStreamResponse,
    view: FollowedRun,
    start: {
      cursor: number;
      ahead: readonly LogEvent[];
      readTo?: PositionParts | undefined;
      wheel: DeadlineWheel;
      maxLagMs: number;
      limits: Limits;
      /** Gives each client that is behind its turns: many may attach to one run at once. */
      turns: CatchUp<RunFollower>;
    },
  ) {
    this.connection = connection;
    this.#view = view;
    this.#wheel = start.wheel;
    this.#maxLagMs = start.maxLagMs;
    this.#limits = start.limits;
    this.#turns = start.turns;
    this.#cursor = start.cursor;
    this.#ahead = start.ahead;
    this.#readTo = start.readTo;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Begins to write. The connection may close, and the run may end, within this call. */
  begin(): void {
    this.connection.attachFeed(this);
    if (this.connection.isClosed) {
      this.onClosed();
      return;
    }
    if (this.connection.wantsSharing) {
      this.connection.shareFeed(`run ${this.#view.epoch}`);
    }
    if (this.#cursor > 0) {
      // The client has received a part of the run: an error status could not replace it. So the headers need not wait.
      this.#commit();
    } else {
      this.#commitAt = this.#wheel.schedule(FIRST_BYTE_MS, () => this.#commit());
    }
    this.#catchUpLater();
  }

  get isBehind(): boolean {
    return this.#mode !== 'live';
  }

  describe(): FeedDescription {
    const { id, tail, isFollowing } = this.#view;
    const lagEvents = this.#mode === 'behind' && isFollowing ? Math.max(0, tail.last - this.#cursor) : 0;
    return { kind: 'run', names: [id], isBehind: this.isBehind, lagEvents };
  }

  /** Whether this client lets the source go on, if the run waits for its clients. */
  get keepsUp(): boolean {
    return this.#mode === 'disposed' || this.connection.output.keepsUp;
  }

  /** Whether the run has ended and was written to its end. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The number of events written, including the closing frames. */
  get events(): number {
    return this.#events;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the events that the log has brought, if it is live. */
  offer(batch: RunBatch): void {
    if (this.#readTo) {
      // It may wait for these.
      this.#catchUpLater();
    }
    if (this.#mode !== 'live' || batch.last <= this.#cursor) {
      return;
    }
    if (!this.connection.output.keepsUp) {
      this.#fallBehind();
      return;
    }
    if (batch.isPlain && batch.first === this.#cursor + 1) {
      this.#cursor = batch.last;
      this.#write(batch.chunk, batch.events.length, { isLive: true });
    } else {
      this.#take(batch.events.filter(({ record }) => record.sequence > this.#cursor));
    }
  }

  /** Ends the response as incomplete, since the log does not go on. */
  lose(): void {
    if (this.#mode !== 'disposed') {
      const { frames, isCut, failure } = this.#view.closingFramesOfLoss();
      this.#end({ reason: 'error', events: -1, bytes: 0, failure, isCut, isSettled: true }, frames);
    }
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
      this.#catchUpLater();
    }
    this.#view.onClientDrained();
  }

  onClosed(): void {
    if (this.#mode !== 'disposed') {
      this.#dispose({ kind: 'closed' });
    }
  }

  /** Takes one step towards the head: writes what is read, or reads on. */
  catchUp(): void {
    if (this.#mode !== 'behind' || this.#isWaiting || !this.connection.output.keepsUp) {
      return;
    }
    const events = this.#next();
    if (!events) {
      return;
    }
    if (events.length > 0) {
      this.#take(events);
      this.#catchUpLater();
    } else {
      this.#goLive();
    }
  }

  /** Returns the next events: none at the head of the log; undefined if they have to be read first. */
  #next(): readonly LogEvent[] | undefined {
    if (this.#ahead.length > 0) {
      const events = takeBatch(this.#ahead);
      this.#ahead = this.#ahead.slice(events.length);
      return events;
    }
    if (!this.#view.isFollowing) {
      this.#await(() => this.#view.start());
      return undefined;
    }
    if (this.#readTo && !this.#joinsTail(this.#readTo)) {
      return undefined;
    }
    const { tail } = this.#view;
    if (this.#cursor >= tail.last) {
      return [];
    }
    if (this.#cursor < tail.ring.first - 1) {
      this.#await(() => this.#readPage());
      return undefined;
    }
    return takeBatch(tail.ring, this.#cursor);
  }

  /**
   * Checks that the tail goes on from the events that were read from the log. An older copy of the log may have taken its
   * place before the tail was followed: then what comes is another part of the answer, or an end that lies before them.
   *
   * @returns whether it does; false if the client has to wait, or has lost the run
   */
  #joinsTail(readTo: PositionParts): boolean {
    const { tail, isLive } = this.#view;
    const isHeld = tail.holds(readTo);
    if (isHeld) {
      this.#readTo = undefined;
      return true;
    }
    if (isHeld === false || (readTo.sequence > tail.last && !isLive)) {
      this.lose();
    } else if (readTo.sequence < tail.last) {
      // The ring begins later. The page has the event at the place, too.
      this.#await(() => this.#readPage());
    }
    return false;
  }

  async #readPage(): Promise<void> {
    this.#reads ??= this.#newReads();
    const page = await this.#reads.next(() =>
      this.#mode === 'disposed' ? undefined : this.#view.tail.pageAfter(this.#cursor),
    );
    if (page === undefined || this.#mode === 'disposed') {
      return;
    }
    if (page === 'limit') {
      // It goes on from its place later: nothing stands for the part of an answer, as a reset does for events.
      this.connection.interrupt('server', MAX_REPLAY_WAIT_MS);
      return;
    }
    const { epoch, events, anchor } = page;
    const isOther = this.#readTo && anchor && anchor.record.nonce !== this.#readTo.nonce;
    if (epoch !== this.#view.epoch || events[0]?.record.sequence !== this.#cursor + 1 || isOther) {
      this.lose();
      return;
    }
    this.#readTo = undefined;
    this.#ahead = events;
  }

  #newReads(): ReplayReads {
    const { connection } = this;
    const { owner } = this.#view.begin;
    const client = {
      keys: owner === undefined ? connection.keys : [owner],
      schedule: connection.schedule.bind(connection),
      cancel: connection.cancel.bind(connection),
    };
    return new ReplayReads(client, this.#limits, BLOCK_EVENTS);
  }

  #await(task: () => Promise<void>): void {
    this.#isWaiting = true;
    task().then(
      () => {
        this.#isWaiting = false;
        this.#catchUpLater();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #catchUpLater(): void {
    if (!this.#isWaiting && this.#mode === 'behind') {
      this.#turns.schedule(this);
    }
  }

  #take(events: readonly LogEvent[]): void {
    const written: LogEvent[] = [];
    for (const event of events) {
      this.#cursor = event.record.sequence;
      const kind = kindOf(event);
      if (kind === 'end') {
        this.#writeEvents(written);
        this.#end(endingOf(event.record), this.#withheld);
        return;
      }
      if (kind === 'last' && written.length === 0 && this.#events === 0 && !this.connection.hasHeadersOut) {
        this.#withheld.push(event);
      } else if (kind === 'item' || kind === 'last') {
        written.push(event);
      }
    }
    this.#writeEvents(written);
  }

  /** Ends the response. `last` holds the closing frames that are not written yet. */
  #end(ending: RunEnding, last: readonly (LogEvent | Chunk)[]): void {
    const { connection } = this;
    const madeNothing = ending.events <= 0 && this.#events === 0;
    if (madeNothing && ending.failure && !connection.hasHeadersOut) {
      const { failure } = ending;
      this.#dispose({ kind: 'failed', failure });
      connection.release();
      return;
    }
    const chunks = last.map((word) => (word instanceof Chunk ? word : new Chunk(word.runFrame)));
    this.#commit();
    if (chunks.length > 0) {
      this.#write(Chunk.join(chunks), chunks.length);
    }
    this.#hasEnded = true;
    this.#dispose({ kind: 'closed' });
    if (ending.isCut) {
      connection.cut('error');
    } else {
      connection.finish(ending.failure ? 'error' : 'server');
    }
  }

  #writeEvents(events: readonly LogEvent[]): void {
    if (events.length > 0) {
      this.#write(chunkOf(events), events.length);
    }
  }

  #write(chunk: Chunk, events: number, { isLive = false } = {}): void {
    this.#commit();
    if (this.connection.isClosed) {
      return;
    }
    this.#events += events;
    this.connection.output.countEvents(events);
    this.#bytes += chunk.frame.length;
    if (isLive) {
      this.connection.output.writeLive(chunk);
    } else {
      this.connection.output.writeChunk(chunk);
    }
  }

  #commit(): void {
    this.#wheel.cancel(this.#commitAt);
    this.#commitAt = undefined;
    try {
      this.connection.commit();
    } catch (error) {
      // Node refuses a header, or middleware that hooks `writeHead` throws. The client gets status 500.
      this.#view.report('The headers of a run could not be sent.', error);
      this.#dispose({ kind: 'failed', failure: MASKED_FAILURE });
      this.connection.release();
    }
  }

  #goLive(): void {
    this.#mode = 'live';
    this.#wheel.cancel(this.#lagLimit);
    this.connection.writeHeld();
    this.#view.onClientDrained();
  }

  #fallBehind(): void {
    if (this.#mode === 'live') {
      this.#mode = 'behind';
      this.#watchLag();
    }
  }

  #watchLag(): void {
    this.#wheel.cancel(this.#lagLimit);
    const { connection } = this;
    this.#lagLimit = this.#wheel.schedule(this.#maxLagMs, () => {
      if (!connection.output.keepsUp) {
        connection.destroy('slow');
      }
    });
  }

  #fail(error: unknown): void {
    if (this.#mode !== 'disposed') {
      this.#view.report('A client could not be given a run; its stream was ended.', error);
      // The run is not lost: the client may come back and go on from its place.
      this.connection.interrupt('error');
    }
  }

  #dispose(outcome: FollowOutcome): void {
    this.#mode = 'disposed';
    this.#turns.cancel(this);
    this.#wheel.cancel(this.#commitAt);
    this.#wheel.cancel(this.#lagLimit);
    this.#ahead = [];
    this.#reads?.stop();
    this.#resolve(outcome);
    this.#view.remove(this);
  }
}

/** Takes the next events of a list, or those of the ring after a sequence: at most as many as are written at once. */
function takeBatch(
  from: readonly LogEvent[] | { at(sequence: number): LogEvent | undefined },
  after?: number,
): readonly LogEvent[] {
  const batch: LogEvent[] = [];
  let bytes = 0;
  for (let n = 0; n < BATCH_EVENTS && bytes < BATCH_BYTES; n += 1) {
    const event = from.at(after === undefined ? n : after + 1 + n);
    if (!event) {
      break;
    }
    batch.push(event);
    bytes += event.record.data.length;
  }
  return batch;
}
