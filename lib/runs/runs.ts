import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeadlineWheel } from '../time/index.js';
import type { PublicError } from '../stream/index.js';
import type { Reporter } from '../errors/index.js';
import type { SseConnection } from '../connection/index.js';
import { RepeatedReport, show, SseError } from '../errors/index.js';
import { warnOfOtherProcesses } from '../log/index.js';
import type { EventLogStore, Lease } from '../log/index.js';
import { RunAudience } from './producer/audience.js';
import { RunFollower } from './client/follower.js';
import { leaseTtlOf, openRun, recordLoss, takeTurn } from './producer/opening.js';
import type { OpenedRun, OpeningContext } from './producer/opening.js';
import { nameOf } from './record/name.js';
import type { RunEnd, RunHandOver, RunSettings, RunSource } from './options.js';
import { findPlace, isOf, placeInView } from './client/place.js';
import type { PlaceWanted, RunPlace } from './client/place.js';
import { RunProducer } from './producer/producer.js';
import type { Produced } from './producer/producer.js';
import { controlRecord, STOP_KEY } from './record/records.js';
import { RunSettlement } from './settlement/settlement.js';
import { outcomeOf, readItems, readState, waitForEnd } from './record/state.js';
import type { RunState } from './record/state.js';
import { RunView } from './view.js';
import type { KnownRun, ViewHost } from './view.js';
import { RunWatch } from './settlement/watch.js';
import type { WatchHost } from './settlement/watch.js';
import { within } from '../time/index.js';

/** What all runs of an app have in common. */
export interface RunsSettings {
  readonly leaseMs: number;
  readonly ringBytes: number;
  readonly maxEventBytes: number;
  readonly maxLagMs: number;
  /** That this process makes at once. */
  readonly maxRuns: number;
}

/** What runs need around them. */
export interface RunsContext {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly publicError: (error: unknown) => PublicError;
}

// Beyond the events of a log in memory it costs nothing to append; on an engine it is a way there and back.
const SHARED_BATCH_MS = 10;
const FIRST_RETRY_MS = 50;
/** How long a closing app waits for the tail of a run. */
const LAST_EVENTS_MS = 500;
const LONGEST_RETRY_MS = 30_000;
const STOP_MS = 1_000;
const LAST_TRIES = 40;

/** The runs of an app: those that this process makes, and those that its clients are attached to. */
export class Runs implements ViewHost, WatchHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly reports: RepeatedReport;
  readonly instance = randomUUID();
  readonly leaseMs: number;
  readonly ringBytes: number;
  readonly #store: EventLogStore;
  readonly #settings: RunsSettings;
  readonly #context: RunsContext;
  readonly #settlement: RunSettlement;
  readonly #watch: RunWatch;
  readonly #opening: OpeningContext;
  /** By the name of the run. */
  readonly #views = new Map<string, RunView>();
  /** One for each run that this process makes, or is about to. */
  readonly #reserved = new Set<symbol>();
  readonly #handOverListeners = new Set<(run: RunHandOver) => unknown>();
  /** What goes on in the background, and must be over before the log is closed. */
  readonly #tasks = new Set<Promise<unknown>>();
  readonly #closed = new AbortController();
  #isDraining = false;
  #hasWarnedOfOwner = false;

  constructor(store: EventLogStore, settings: RunsSettings, context: RunsContext) {
    this.#store = store;
    this.#settings = settings;
    this.#context = context;
    this.leaseMs = settings.leaseMs;
    this.ringBytes = settings.ringBytes;
    this.wheel = context.wheel;
    this.reporter = context.reporter;
    this.reports = new RepeatedReport(context.reporter);
    const { reporter, publicError } = context;
    const closed = this.#closed.signal;
    this.#watch = new RunWatch(store, this);
    this.#settlement = new RunSettlement(store, {
      reporter,
      leaseMs: this.leaseMs,
      closed,
      onSettled: ({ name, epoch }) => this.#watch.note('settled', name, epoch),
    });
    this.#opening = { store, settlement: this.#settlement, publicError, leaseMs: this.leaseMs, closed };
  }

  /**
   * Starts a run, unless one with its id and owner is live, on whichever instance.
   *
   * @returns whether it was started, once it can be attached to
   * @throws SseError `run-refused`, `log-unavailable`, `publish-failed`, `closed`; `run-forbidden` beside 0.1
   */
  async start(id: string, source: RunSource, settings: RunSettings): Promise<boolean> {
    this.#refuseIfClosed();
    warnOfOtherProcesses(this.#store, this.reporter);
    const name = nameOf(id, settings.owner);
    if (this.isMine(name)) {
      return false;
    }
    // Before the first await: as many as are asked for at once would all find room.
    const place = this.#reserve();
    let isMaking = false;
    try {
      isMaking = await this.#open(name, source, settings, () => this.#reserved.delete(place));
      return isMaking;
    } finally {
      if (!isMaking) {
        this.#reserved.delete(place);
      }
    }
  }

  /** @param onOver called when it is made no more @returns whether it is made here now */
  async #open(name: string, source: RunSource, settings: RunSettings, onOver: () => void): Promise<boolean> {
    const lease = await takeTurn(name, settings.owner, this.#opening);
    if (!lease) {
      return false;
    }
    try {
      this.#refuseIfClosed();
      const { hasListeners } = this.#settlement;
      if (hasListeners) {
        // Before there is one: a process that dies as it begins it would leave a run that nobody looks after.
        await this.#watch.note('begun', name, 'none yet');
      }
      const opened = await openRun(name, lease, settings, this.#opening);
      if (!opened) {
        await this.#giveBack(lease);
        return false;
      }
      if (hasListeners) {
        await this.#watch.note('begun', name, opened.run.epoch);
      }
      const view = await this.#heardViewOf(opened.run);
      this.#refuseIfClosed();
      const producer = this.#producerOf(view, lease, opened, settings);
      producer.onClose(onOver);
      const produce = () => producer.produce(source, opened.before.items);
      this.#inBackground(this.#produce(view, lease, produce, settings));
      return true;
    } catch (error) {
      await this.#giveBack(lease);
      throw error;
    }
  }

  /**
   * Finds a run, and the place in it where a client is to begin.
   *
   * @returns undefined where the owner has none
   * @throws SseError `run-replaced`, `log-unavailable`, `closed`
   */
  async find(id: string, wanted: PlaceWanted): Promise<RunPlace | undefined> {
    const name = nameOf(id, wanted.owner);
    const view = this.#views.get(name);
    const inView =
      view?.isLive && isOf(view.begin, wanted.owner) ? await placeInView(view, wanted) : undefined;
    const place = inView ?? (await findPlace(this.#store, name, wanted));
    if (!place) {
      this.#warnOfOwner(id, wanted.owner);
    }
    return place;
  }

  /**
   * Attaches a client. Its connection has committed nothing.
   *
   * @throws SseError `misuse` where something else feeds the connection
   */
  async attach(connection: SseConnection, { run, cursor, ahead, hasEnded }: RunPlace): Promise<RunFollower> {
    connection.refuseSecondFeed();
    const view = this.#viewOf(run, hasEnded);
    const follower = new RunFollower(connection, view, {
      cursor,
      ahead,
      wheel: this.wheel,
      maxLagMs: this.#settings.maxLagMs,
    });
    view.add(follower);
    if (run.begin.isAborted) {
      // A client that has got something counts: the run must not end because another one leaves.
      await this.#quietly(view.announce());
    }
    follower.begin();
    if (!hasEnded) {
      // Where it fails, the client meets the failure when it has read so far.
      this.#inBackground(this.#quietly(view.start()));
    }
    const { handedOverAt } = outcomeOf(ahead.map(({ record }) => record));
    if (handedOverAt !== undefined) {
      this.onHandedOver(view);
    }
    return follower;
  }

  /**
   * Ends a run, on whichever instance it is made.
   *
   * @returns whether it was live; undefined where the owner has none
   * @throws SseError `log-unavailable`, `publish-failed`, `closed`
   */
  async stop(id: string, owner: string | undefined): Promise<boolean | undefined> {
    const producer = this.#views.get(nameOf(id, owner))?.producer;
    if (producer && !producer.isOver) {
      await producer.end('stop');
      return true;
    }
    const state = await this.state(id, owner);
    if (!state) {
      return undefined;
    }
    if (state.ending) {
      return false;
    }
    await state.log.notify(STOP_KEY, controlRecord('stop'));
    // Where the one who makes it is gone, nobody heard that.
    this.#inBackground(this.finishIfDead(state.name));
    // Whoever stops it may start the next at once, on an instance that has not heard of the stop.
    await waitForEnd(this.#store, state, STOP_MS);
    return true;
  }

  /**
   * @returns undefined where the owner has none
   * @throws SseError `log-unavailable`, `closed`
   */
  async state(id: string, owner: string | undefined): Promise<RunState | undefined> {
    const state = await readState(this.#store, nameOf(id, owner));
    if (state && isOf(state.begin, owner)) {
      return state;
    }
    this.#warnOfOwner(id, owner);
    return undefined;
  }

  onEnd(listener: (end: RunEnd) => unknown): () => void {
    this.#watch.start();
    return this.#settlement.onEnd(listener);
  }

  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    this.#handOverListeners.add(listener);
    return () => this.#handOverListeners.delete(listener);
  }

  /** Ends the runs that are made here, or leaves them to others. Resolves when their clients here were told. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    await Promise.all(
      Array.from(this.#views.values(), async ({ producer, tail }) => {
        const produced = await producer?.leaveAtShutdown();
        if (produced?.last !== undefined) {
          // The tail comes after the log's word that it has them, and with it the last words of the clients here.
          await tail.reaches(produced.last, LAST_EVENTS_MS);
        }
      }),
    );
  }

  /** Resolves when what has ended was told to those who save it, or after a while. */
  async settled(): Promise<void> {
    // Where it takes too long, another instance tells them.
    await within(Promise.allSettled(this.#tasks), this.leaseMs);
  }

  /** Ends all that waits. The log may be closed then. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#closed.abort();
    // Whoever saves an answer may take a while; another instance saves it where it takes too long.
    await within(Promise.allSettled(this.#tasks), this.leaseMs);
    this.#watch.close();
    Array.from(this.#views.values()).forEach((view) => view.close());
  }

  /**
   * Ends a run whose producer is gone: where nobody holds the lease of one that has not ended, nobody makes it.
   *
   * @param own what this process knows of it, where it was the one that made it
   * @returns whether nothing is left to be done for it
   */
  async finishIfDead(
    name: string,
    own: { error?: unknown; onEnd?: RunSettings['onEnd'] } = {},
  ): Promise<boolean> {
    if (this.#closed.signal.aborted) {
      return false;
    }
    const lease = await this.#store.lease(name, { ttlMs: leaseTtlOf(this.leaseMs) });
    if (!lease) {
      return false;
    }
    try {
      const state = await readState(this.#store, name);
      if (!state) {
        return true;
      }
      if (!state.ending && isFresh(state, this.leaseMs)) {
        this.#tellHandOver(state);
        return false;
      }
      const ending = state.ending ?? (await recordLoss(state, lease, this.#opening));
      return await this.#settlement.settle(state, ending, { isSettled: state.isSettled, ...own });
    } finally {
      await this.#giveBack(lease);
    }
  }

  isMine(name: string): boolean {
    return this.#views.get(name)?.producer?.isOver === false;
  }

  onHandedOver(view: RunView): void {
    this.#tellHandOver(view);
  }

  onUnused(view: RunView): void {
    if (this.#views.get(view.name) === view) {
      this.#views.delete(view.name);
    }
  }

  /** So that this process hears what others want of a run that it makes. */
  async #heardViewOf(run: KnownRun): Promise<RunView> {
    const view = this.#viewOf(run, false);
    try {
      await Promise.all([view.start(), view.listen()]);
    } catch (error) {
      view.close();
      throw error;
    }
    return view;
  }

  #producerOf(
    view: RunView,
    lease: Lease,
    { words, limits, before }: OpenedRun,
    settings: RunSettings,
  ): RunProducer {
    const producer = new RunProducer(view.log, lease, settings, {
      words,
      before,
      context: {
        ...this.#context,
        maxEventBytes: this.#settings.maxEventBytes,
        leaseMs: this.leaseMs,
        batchMs: this.#store.isShared ? SHARED_BATCH_MS : 0,
        clientsKeepUp: () => view.clientsKeepUp(),
        isEndWanted: () => settings.onEnd !== undefined || this.#settlement.hasListeners,
        touch: () => this.#store.open(view.name, limits),
      },
    });
    const audience = new RunAudience(settings, {
      wheel: this.wheel,
      presenceMs: view.begin.presenceMs ?? Infinity,
      leave: (reason) => void producer.end(reason),
    });
    view.produceBy(producer, audience);
    return producer;
  }

  /** Makes a run from its start to its end, and all that comes of that. */
  async #produce(
    view: RunView,
    lease: Lease,
    produce: () => Promise<Produced>,
    { onEnd }: RunSettings,
  ): Promise<void> {
    const { ending, error } = await produce();
    view.forgetProducer();
    await this.#giveBack(lease);
    if (ending?.reason === 'error') {
      this.reporter.error(`The run ${show(view.id)} failed.`, error);
    }
    if (ending) {
      await this.#settlement.settle(view, ending, { isSettled: ending.isSettled, error, onEnd });
    } else if (error !== undefined) {
      this.reporter.error(`The run ${show(view.id)} was given up here: it could not be recorded.`, error);
      await this.#finishLater(view.name, { error, onEnd });
    }
  }

  /** Has the log say that a run is over which could not say so itself, as soon as it can be reached. */
  async #finishLater(name: string, own: { error: unknown; onEnd: RunSettings['onEnd'] }): Promise<void> {
    let waitMs = FIRST_RETRY_MS;
    for (let tries = 0; tries < LAST_TRIES && !this.#closed.signal.aborted; tries += 1) {
      try {
        await this.finishIfDead(name, own);
        return;
      } catch (error) {
        this.reporter.debug(`A run that is over could not be ended in the log yet: ${String(error)}`);
      }
      waitMs = Math.min(LONGEST_RETRY_MS, waitMs * 2);
      await this.#pause(waitMs);
    }
  }

  #viewOf(run: KnownRun, hasEnded: boolean): RunView {
    const known = this.#views.get(run.name);
    if (known?.epoch === run.epoch && known.isLive) {
      return known;
    }
    const view = new RunView(run, this, hasEnded);
    // One that has ended is read by those who want it, and may be replaced at any time.
    if (!hasEnded) {
      this.#views.set(run.name, view);
    }
    return view;
  }

  #tellHandOver(run: KnownRun): void {
    const { id, epoch, begin } = run;
    for (const listener of this.#handOverListeners) {
      const told = (async () =>
        listener({
          id,
          key: epoch,
          ...(begin.owner === undefined ? {} : { owner: begin.owner }),
          items: async () => (await readItems(run)).items,
        }))();
      this.#inBackground(told);
    }
  }

  #inBackground(task: Promise<unknown>): void {
    const watched = task
      .catch((error: unknown) =>
        this.reporter.error('Something about a run failed that nobody waits for.', error),
      )
      .finally(() => this.#tasks.delete(watched));
    this.#tasks.add(watched);
  }

  /** Waits for something whose failure others are told of. */
  async #quietly(task: Promise<unknown>): Promise<void> {
    try {
      await task;
    } catch (error) {
      this.reporter.debug(`A run cannot be followed: ${String(error)}`);
    }
  }

  async #giveBack(lease: Lease): Promise<void> {
    try {
      await lease.release();
    } catch (error) {
      // It runs out by itself.
      this.reporter.debug(`A run's lease could not be given back: ${String(error)}`);
    }
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.#closed.signal });
    } catch {
      // The app is closing; whoever waits looks whether it is.
    }
  }

  /**
   * Takes a place among the runs that this process makes.
   *
   * @throws SseError `run-refused`
   */
  #reserve(): symbol {
    const { maxRuns } = this.#settings;
    if (this.#reserved.size >= maxRuns) {
      throw new SseError(
        'run-refused',
        `The run was not started: this process makes ${maxRuns} already, which is runs.maxRuns.`,
      );
    }
    const place = Symbol('a run that is made');
    this.#reserved.add(place);
    return place;
  }

  /** An app that gives the owner in one call and not in the next finds nothing, and should hear why. */
  #warnOfOwner(id: string, owner: string | undefined): void {
    if (this.#hasWarnedOfOwner || owner !== undefined) {
      return;
    }
    if (Array.from(this.#views.values()).some((view) => view.id === id && view.begin.owner !== undefined)) {
      this.#hasWarnedOfOwner = true;
      this.reporter.warn(
        `There is no run ${show(id)} without an owner, and this process has one that was started with an owner. ` +
          'A run is found with its owner alone: call attach, stop and status of runs.of(owner), as start was called.',
      );
    }
  }

  #refuseIfClosed(): void {
    if (this.#isDraining) {
      throw new SseError('closed', 'The app is shutting down: the run was not started.');
    }
  }
}

/** Whether another instance may be about to go on with it. */
function isFresh({ handedOverAt }: RunState, leaseMs: number): boolean {
  return handedOverAt !== undefined && Date.now() - handedOverAt < 2 * leaseMs;
}
