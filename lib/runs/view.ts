import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { RepeatedReport, Reporter } from '../errors/index.js';
import { LogTail } from '../log/index.js';
import type { LogEvent, LossReason, NamedLog, NewRecord, TailListener } from '../log/index.js';
import { MASKED_FAILURE, SseError } from '../errors/index.js';
import { Chunk, encodeEvent } from '../wire/index.js';
import { RunBatch, RunPresence } from './client/index.js';
import type { ClosingFramesOfLoss, FollowedRun, RunFollower } from './client/index.js';
import type { ProducedRun, RunProducer } from './producer/index.js';
import { controlRecord, instanceOf, kindOf, tokenOf } from './record/index.js';
import type { KnownRun, RecordKind, RunBegin } from './record/index.js';

/** The runs of an instance, as a view sees them. */
export interface ViewHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  /** Reports failures that all clients of a run meet at the same time. */
  readonly reports: RepeatedReport;
  /** The id of this instance among those that share the log. */
  readonly instance: string;
  readonly leaseMs: number;
  readonly ringBytes: number;
  /** Ends a run if its producer is gone. */
  finishIfDead(name: string): Promise<unknown>;
  onHandedOver(view: RunView): void;
  /** Called when this instance needs the view no more. */
  onUnused(view: RunView): void;
}

// The number of events kept in memory for clients that come back. Older ones are read from the log.
const RING_EVENTS = 10_000;
// The latest records that are read when the tail is followed: enough to know whether the run was stopped or has ended.
const LAST_RECORDS = 64;

/**
 * A run as this instance sees it: the tail of its log, the clients that are attached here, and its producer if that is
 * here as well. If the producer is on another instance, the view tells it of the clients here, and checks that it still
 * holds its lease: if the lease is free, the producer is gone.
 */
export class RunView implements TailListener, FollowedRun, ProducedRun {
  readonly id: string;
  readonly name: string;
  readonly epoch: string;
  readonly begin: RunBegin;
  readonly log: NamedLog;
  readonly tail: LogTail;
  readonly #host: ViewHost;
  readonly #followers = new Set<RunFollower>();
  #producer: RunProducer | undefined;
  #state: 'live' | 'ended' | 'lost' | 'closed';
  #isFollowing = false;
  #starting: Promise<void> | undefined;
  #receivedAt: number;
  #probe: Deadline | undefined;
  #announced: Promise<unknown> = Promise.resolve();
  #stopListening: (() => void) | undefined;
  /** Notices that arrived before the producer was here. */
  #earlyNotices: NewRecord[] = [];
  /** Absent if the run goes on without clients: then the producer need not know of them. */
  readonly #presence: RunPresence | undefined;
  #drainWaiters: (() => void)[] = [];

  /** @param hasEnded - whether the run is known to have ended */
  constructor(run: KnownRun, host: ViewHost, hasEnded: boolean) {
    this.#state = hasEnded ? 'ended' : 'live';
    this.id = run.id;
    this.name = run.name;
    this.epoch = run.epoch;
    this.begin = run.begin;
    this.log = run.log;
    this.#host = host;
    this.#receivedAt = host.wheel.now();
    this.tail = new LogTail(run.log, { ringEvents: RING_EVENTS, ringBytes: host.ringBytes, listener: this });
    const { presenceMs } = run.begin;
    this.#presence =
      presenceMs === undefined
        ? undefined
        : new RunPresence(host.wheel, presenceMs, (hasClients) => this.#notifyPresence(hasClients));
  }

  get isFollowing(): boolean {
    return this.#isFollowing;
  }

  /** Whether the run goes on, as far as this instance knows. */
  get isLive(): boolean {
    return this.#state === 'live';
  }

  get producer(): RunProducer | undefined {
    return this.#producer;
  }

  /** How many clients are attached here. */
  get clients(): number {
    return this.#followers.size;
  }

  /** Resolves when the tail is followed. The first call begins to follow it. */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      // The next call tries again.
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  /** Receives the notices of other instances for the producer, which is about to be here. */
  async listen(): Promise<void> {
    const stop = await this.log.onNotice((notice) => {
      if (this.#producer) {
        this.#receiveNotice(notice);
      } else {
        this.#earlyNotices.push(notice);
      }
    });
    if (this.#state === 'closed') {
      stop();
    }
    this.#stopListening = stop;
  }

  /** Takes the producer, which is on this instance. */
  produceBy(producer: RunProducer): void {
    this.#producer = producer;
    // The clients here are counted here: no other producer has to be told of them.
    this.#presence?.stop();
    producer.audience.setHere(this.#followers.size);
    // The run may have been stopped between its first record and the first that is followed.
    if (this.#holds('stop')) {
      void producer.end('stop');
    }
    this.#earlyNotices.splice(0).forEach((notice) => this.#receiveNotice(notice));
  }

  /** Drops the producer, which has ended. */
  forgetProducer(): void {
    this.#producer?.audience.close();
    this.#producer = undefined;
    this.#stopListening?.();
    this.#watchProducer();
    this.#dropIfUnused();
  }

  add(follower: RunFollower): void {
    this.#followers.add(follower);
    this.#onClients();
    this.#watchProducer();
  }

  /** Resolves when the producer was told of the clients here, or cannot be told. */
  async announce(): Promise<void> {
    await this.start();
    await this.#announced;
  }

  remove(follower: RunFollower): void {
    if (this.#followers.delete(follower)) {
      this.onClientDrained();
      this.#onClients();
      this.#dropIfUnused();
    }
  }

  /** Resolves when the slowest client of this instance takes more. */
  async clientsKeepUp(): Promise<void> {
    if (!this.#allKeepUp) {
      await new Promise<void>((resolve) => {
        this.#drainWaiters.push(resolve);
      });
    }
  }

  onClientDrained(): void {
    if (this.#drainWaiters.length > 0 && this.#allKeepUp) {
      this.#drainWaiters.splice(0).forEach((resolve) => resolve());
    }
  }

  onEvents(events: readonly LogEvent[]): void {
    const batch = new RunBatch(events);
    if (batch.isPlain || events.some(isOfProducer)) {
      this.#receivedAt = this.#host.wheel.now();
    }
    this.#forEachFollower((follower) => follower.offer(batch));
    if (!batch.isPlain) {
      events.forEach((event) => this.#receive(event));
    }
  }

  onReset(_reason: LossReason): void {
    if (this.#state === 'live') {
      this.#state = 'lost';
    }
    this.#producer?.abandon(new Error('The log of the run is gone.'));
    this.#forEachFollower((follower) => follower.lose());
    this.close();
  }

  /** Calls each follower. The failure of one client must not reach the others, or the run. */
  #forEachFollower(act: (follower: RunFollower) => void): void {
    for (const follower of Array.from(this.#followers)) {
      try {
        act(follower);
      } catch (error) {
        follower.connection.onBroken(error);
      }
    }
  }

  /** Returns what a client gets if the log does not go on. */
  closingFramesOfLoss(): ClosingFramesOfLoss {
    const frames = this.begin.lost.map(
      ({ type, data }) => new Chunk(encodeEvent({ type, data }, { maxEventBytes: Infinity })),
    );
    return { frames, isCut: this.begin.isCut, failure: MASKED_FAILURE };
  }

  report(message: string, error: unknown): void {
    this.#host.reports.error(message, message, error);
  }

  /** Ends the timers and listeners of the view. It does not close the clients that are attached. */
  close(): void {
    if (this.#state === 'live') {
      this.#state = 'closed';
    }
    this.#stopWatching();
    this.#stopListening?.();
    this.tail.stop();
    this.#host.onUnused(this);
  }

  async #start(): Promise<void> {
    // These records are enough to know the state of the run. Clients read older ones as they need them.
    await this.tail.start(LAST_RECORDS);
    if (this.tail.epoch !== this.epoch) {
      this.onReset('epoch');
      throw new SseError('log-unavailable', 'The log of the run is gone: another has taken its place.');
    }
    this.#isFollowing = true;
    if (this.#holds('end')) {
      this.#state = 'ended';
      this.#stopWatching();
    } else {
      this.#onClients();
    }
  }

  /** Returns whether a record of a kind is in the ring. */
  #holds(kind: RecordKind): boolean {
    const { ring } = this.tail;
    for (let sequence = ring.last; sequence >= ring.first; sequence -= 1) {
      if (kindOf(ring.at(sequence)!) === kind) {
        return true;
      }
    }
    return false;
  }

  get #allKeepUp(): boolean {
    return Array.from(this.#followers).every(({ keepsUp }) => keepsUp);
  }

  #receive(event: LogEvent): void {
    switch (kindOf(event)) {
      case 'end':
        this.#state = 'ended';
        this.#producer?.supersede();
        this.#stopWatching();
        break;
      case 'stop':
      case 'here':
      case 'gone':
        this.#receiveNotice(event.record);
        break;
      case 'handed-over':
        if (!this.#producer) {
          this.#host.onHandedOver(this);
        }
        break;
      case 'taken-over':
        if (tokenOf(event.record) !== this.producer?.token) {
          this.#producer?.supersede();
        }
        this.#presence?.renew();
        break;
      case 'begin':
      case 'item':
      case 'last':
      case 'settled':
        break;
    }
  }

  /** Passes on to the producer what another instance tells it, in a record or in a notice. */
  #receiveNotice(notice: NewRecord): void {
    if (notice.topic === 'stop') {
      void this.#producer?.end('stop');
    } else if (notice.topic === 'here') {
      this.#producer?.audience.addInstance(instanceOf(notice));
    } else if (notice.topic === 'gone') {
      this.#producer?.audience.removeInstance(instanceOf(notice));
    }
  }

  #onClients(): void {
    if (this.#producer) {
      this.#producer.audience.setHere(this.#followers.size);
    } else if (this.isLive && this.#isFollowing) {
      this.#presence?.set(this.#followers.size > 0);
    }
  }

  #notifyPresence(hasClients: boolean): void {
    const { instance, reporter } = this.#host;
    this.#announced = this.log
      .notify(instance, controlRecord(hasClients ? 'here' : 'gone', instance))
      .catch((error: unknown) => reporter.debug(`A run could not be told of its clients: ${String(error)}`))
      .finally(() => this.#dropIfUnused());
  }

  /** Stops checking the producer and telling it of clients. */
  #stopWatching(): void {
    this.#host.wheel.cancel(this.#probe);
    this.#probe = undefined;
    this.#presence?.stop();
  }

  /** Checks a producer on another instance if the log is silent: it may be gone. */
  #watchProducer(): void {
    if (this.#probe || this.#producer || !this.isLive) {
      return;
    }
    const { wheel, leaseMs, reporter } = this.#host;
    this.#probe = wheel.schedule(leaseMs / 4, () => {
      this.#probe = undefined;
      if (wheel.now() - this.#receivedAt < leaseMs / 4) {
        this.#watchProducer();
        return;
      }
      this.#host
        .finishIfDead(this.name)
        .catch((error: unknown) => reporter.debug(`A run could not be looked after: ${String(error)}`))
        .finally(() => this.#watchProducer());
    });
  }

  #dropIfUnused(): void {
    const isUnused = this.#followers.size === 0 && !this.#producer;
    // The producer still has to be told that the clients are gone.
    if (isUnused && this.#state !== 'closed' && !(this.isLive && this.#presence?.isAnnounced)) {
      this.close();
    }
  }
}

/** Returns whether a record shows that the producer lives. Other instances tell of their clients even if it is gone. */
function isOfProducer(event: LogEvent): boolean {
  const kind = kindOf(event);
  return kind !== 'here' && kind !== 'gone' && kind !== 'stop' && kind !== 'settled';
}
