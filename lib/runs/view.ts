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

/** What a view needs of the runs of its process. */
export interface ViewHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  /** Of what all clients of a run meet at the same time. */
  readonly reports: RepeatedReport;
  /** Of this process, among those that share the log. */
  readonly instance: string;
  readonly leaseMs: number;
  readonly ringBytes: number;
  /** Ends the run if nobody makes it any more. */
  finishIfDead(name: string): Promise<unknown>;
  onHandedOver(view: RunView): void;
  /** Nobody here needs it any more. */
  onUnused(view: RunView): void;
}

// The events of a run that are at hand for who comes back; older ones are read from the log.
const RING_EVENTS = 10_000;
// What can have been said to a run before its process follows it.
const LAST_RECORDS = 64;

/**
 * A run as this process sees it: the tail of its log, the clients that are attached here, and its producer,
 * where that is here as well. Where it is not, the view tells the producer that there are clients, and
 * looks after it: a lease that nobody keeps is that of a producer which is gone.
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
  /** Notices that came before the producer did. */
  #earlyNotices: NewRecord[] = [];
  /** Absent where nobody wants to know whether there are clients. */
  readonly #presence: RunPresence | undefined;
  #drainWaiters: (() => void)[] = [];

  /** @param hasEnded whether that is known: then there is nobody to be told anything */
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

  /** Whether it goes on, as far as this process has heard. */
  get isLive(): boolean {
    return this.#state === 'live';
  }

  get producer(): RunProducer | undefined {
    return this.#producer;
  }

  /** Resolves when the tail is followed, which begins with the first call. */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      // It may be there for the next who asks.
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  /** Receives what other instances tell the producer, which is about to be here. */
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

  /** Its producer is here. */
  produceBy(producer: RunProducer): void {
    this.#producer = producer;
    // What it has told another one is told to nobody any more: it is counted here.
    this.#presence?.stop();
    producer.audience.setHere(this.#followers.size);
    // Between its first record and the first that is followed, somebody may have stopped it.
    if (this.#holds('stop')) {
      void producer.end('stop');
    }
    this.#earlyNotices.splice(0).forEach((notice) => this.#receiveNotice(notice));
  }

  /** Its producer is here no more. */
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

  /** Resolves when the log has been told of the clients here, or cannot be. */
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

  /** Resolves when every client of this instance takes more. */
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

  /** One client's failure is not another's, and not the run's. */
  #forEachFollower(act: (follower: RunFollower) => void): void {
    for (const follower of Array.from(this.#followers)) {
      try {
        act(follower);
      } catch (error) {
        follower.connection.onBroken(error);
      }
    }
  }

  /** What a client is told where the log does not go on. */
  closingFramesOfLoss(): ClosingFramesOfLoss {
    const frames = this.begin.lost.map(
      ({ type, data }) => new Chunk(encodeEvent({ type, data }, { maxEventBytes: Infinity })),
    );
    return { frames, isCut: this.begin.isCut, failure: MASKED_FAILURE };
  }

  report(message: string, error: unknown): void {
    this.#host.reports.error(message, message, error);
  }

  /** Ends what runs on its behalf. Clients that are attached are somebody else's matter. */
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
    // Enough to know how it stands; what came before is read by whoever wants it.
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

  /** Whether a record of a kind is among those at hand. */
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

  /** What another instance tells the producer, as a record of the log or beside it. */
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

  /** Its end is known, or this process has done with it. */
  #stopWatching(): void {
    this.#host.wheel.cancel(this.#probe);
    this.#probe = undefined;
    this.#presence?.stop();
  }

  /** A producer elsewhere that says nothing may be gone. */
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
    // Its producer waits for the word that the clients are gone.
    if (isUnused && this.#state !== 'closed' && !(this.isLive && this.#presence?.isAnnounced)) {
      this.close();
    }
  }
}

/** Whether it shows that somebody makes the run. What instances say of their clients goes on without that. */
function isOfProducer(event: LogEvent): boolean {
  const kind = kindOf(event);
  return kind !== 'here' && kind !== 'gone' && kind !== 'stop' && kind !== 'settled';
}
