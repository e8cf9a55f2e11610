import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { CatchUp } from '../connection/index.js';
import type { EventStreamResponse } from '../connection/index.js';
import { RepeatedReport, show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { DEFAULT_LIMITS, Limits } from '../limits/index.js';
import { warnOfOtherProcesses } from '../log/index.js';
import type { EventLogStore } from '../log/index.js';
import type { PublicError } from '../stream/index.js';
import { within } from '../time/index.js';
import type { DeadlineWheel } from '../time/index.js';
import { findPlace, placeInView, RunFollower } from './client/index.js';
import type { PlaceWanted, RunPlace } from './client/index.js';
import { RunCounts } from './counts.js';
import type { RunEnd, RunHandOver, StartSettings, RunSource } from './options.js';
import { RunProducers } from './producer/index.js';
import { controlRecord, isOf, nameOf, outcomeOf, readState, STOP_KEY, waitForEnd } from './record/index.js';
import type { KnownRun, RunState } from './record/index.js';
import type { RunTracer } from './run-tracer.js';
import { RunCaretaker } from './settlement/index.js';
import { RunView } from './view.js';
import type { ViewHost } from './view.js';

/** The settings that all runs of an app share. */
export interface RunsSettings {
  readonly leaseMs: number;
  readonly ringBytes: number;
  readonly maxEventBytes: number;
  readonly maxLagMs: number;
  /** The most runs that this instance produces at once. */
  readonly maxRuns: number;
}

/** The services of the app that runs use. */
export interface RunsContext {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly publicError: (error: unknown) => PublicError;
  /** The limits of the process; the defaults if absent. */
  readonly limits?: Limits;
}

// How long a closing app waits for the last records of a run.
const LAST_EVENTS_MS = 500;
const STOP_MS = 1_000;

/** The runs of an instance: those that it produces, and those that its clients are attached to. */
export class Runs {
  readonly #store: EventLogStore;
  readonly #settings: RunsSettings;
  readonly #wheel: DeadlineWheel;
  readonly #reporter: Reporter;
  readonly #limits: Limits;
  readonly counts = new RunCounts();
  /** Undefined if nothing is traced. */
  tracer: RunTracer | undefined;
  /** The turns of clients that catch up. */
  readonly #turns = new CatchUp<RunFollower>((follower) => {
    try {
      follower.catchUp();
    } catch (error) {
      follower.connection.onBroken(error);
    }
  });
  /** The caretaker of runs whose producer is gone. */
  readonly caretaker: RunCaretaker;
  readonly #producers: RunProducers;
  readonly #viewHost: ViewHost;
  /** The views, by the name of the run. */
  readonly #views = new Map<string, RunView>();
  /** Tasks in the background. They are over before the log is closed. */
  readonly #tasks = new Set<Promise<unknown>>();
  readonly #closed = new AbortController();
  #isDraining = false;
  /** Until when `close` waits for the listeners of the app; undefined before `settled` is called. */
  #waitsUntil: number | undefined;
  #hasWarnedOfOwner = false;

  constructor(store: EventLogStore, settings: RunsSettings, context: RunsContext) {
    this.#store = store;
    this.#settings = settings;
    this.#wheel = context.wheel;
    this.#reporter = context.reporter;
    this.#limits = context.limits ?? new Limits(DEFAULT_LIMITS, context.reporter);
    const closed = this.#closed.signal;
    // One listener for each pause of a run, as before an onEnd that has failed is called again: with many that is no leak.
    setMaxListeners(0, closed);
    const inBackground = (task: Promise<unknown>) => this.#inBackground(task);
    const caretaker = new RunCaretaker(store, {
      ...context,
      leaseMs: settings.leaseMs,
      counts: this.counts,
      closed,
      isDraining: () => this.#isDraining,
      isProducedHere: (name) => this.#isProducedHere(name),
      inBackground,
    });
    this.caretaker = caretaker;
    this.#producers = new RunProducers({
      ...context,
      ...settings,
      limits: this.#limits,
      store,
      counts: this.counts,
      caretaker,
      closed,
      tracer: () => this.tracer,
      follow: (run) => this.#follow(run),
      refuseIfClosing: () => this.#refuseIfClosing(),
      inBackground,
    });
    this.#viewHost = {
      ...context,
      ...settings,
      reports: new RepeatedReport(context.reporter),
      instance: randomUUID(),
      finishIfDead: (name) => caretaker.finishIfDead(name),
      onHandedOver: (run) => caretaker.offer(run),
      onUnused: (view) => this.#forget(view),
    };
  }

  /**
   * Starts a run, unless a run with its id and owner is live on any instance.
   *
   * @returns whether it was started, once clients can attach to it
   * @throws SseError `run-refused`, `log-unavailable`, `publish-failed`, `closed`; `run-forbidden` if an instance of
   * version 0.1 has started one with an owner under an id without owner
   */
  async start(id: string, source: RunSource, settings: StartSettings): Promise<boolean> {
    this.#refuseIfClosing();
    warnOfOtherProcesses(this.#store, this.#reporter);
    if (this.#isProducedHere(nameOf(id, settings.owner))) {
      return false;
    }
    return this.#producers.start(id, source, settings);
  }

  /**
   * Finds a run, and the place in it where a client begins.
   *
   * @returns undefined if the owner has no such run
   * @throws SseError `run-replaced`, `log-unavailable`, `closed`; `run-refused` if too much was read for the owner
   */
  async find(id: string, wanted: PlaceWanted): Promise<RunPlace | undefined> {
    const name = nameOf(id, wanted.owner);
    const view = this.#views.get(name);
    const inView =
      view?.isLive && isOf(view.begin, wanted.owner) ? await placeInView(view, wanted) : undefined;
    const place = inView ?? (await this.#findInLog(name, wanted));
    if (!place) {
      this.#warnOfOwner(id, wanted.owner);
    }
    return place;
  }

  async #findInLog(name: string, wanted: PlaceWanted): Promise<RunPlace | undefined> {
    const { owner } = wanted;
    if (owner === undefined) {
      return findPlace(this.#store, name, wanted);
    }
    this.#limits.refuseReplay(owner);
    const place = await findPlace(this.#store, name, wanted);
    this.#limits.countReplay(owner, place?.ahead.length ?? 0);
    return place;
  }

  /**
   * Attaches a client whose headers are not committed yet.
   *
   * @throws SseError `misuse` if the connection has another feed
   */
  async attach(
    connection: EventStreamResponse,
    { run, cursor, ahead, readTo, hasEnded }: RunPlace,
  ): Promise<RunFollower> {
    connection.refuseSecondFeed();
    const view = this.#viewOf(run, hasEnded);
    const follower = new RunFollower(connection, view, {
      cursor,
      ahead,
      readTo,
      wheel: this.#wheel,
      maxLagMs: this.#settings.maxLagMs,
      limits: this.#limits,
      turns: this.#turns,
    });
    view.add(follower);
    if (run.begin.isAborted) {
      // The producer has to count this client before it gets an event. Otherwise the run could end when another leaves.
      await this.#quietly(view.announce());
    }
    follower.begin();
    if (!hasEnded) {
      // If this fails, the client gets the failure when it has read up to there.
      this.#inBackground(this.#quietly(view.start()));
    }
    const { handedOverAt } = outcomeOf(ahead.map(({ record }) => record));
    if (handedOverAt !== undefined) {
      this.caretaker.offer(view);
    }
    return follower;
  }

  /**
   * Ends a run, on any instance.
   *
   * @returns whether it was live; undefined if the owner has no such run
   * @throws SseError `log-unavailable`, `publish-failed`, `closed`
   */
  async stop(id: string, owner: string | undefined): Promise<boolean | undefined> {
    const producer = this.#views.get(nameOf(id, owner))?.producer;
    if (producer && !producer.hasEnded) {
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
    // If the producer is gone, it did not receive the notice.
    this.#inBackground(this.caretaker.finishIfDead(state.name));
    // The caller may start the next run at once, on an instance that has not received the notice yet.
    await waitForEnd(this.#store, state, STOP_MS);
    return true;
  }

  /** Ends the runs of some owners that are produced here. */
  stopOf(owners: ReadonlySet<string>): void {
    for (const { begin, producer } of this.#views.values()) {
      if (producer && !producer.hasEnded && begin.owner !== undefined && owners.has(begin.owner)) {
        this.#inBackground(producer.end('stop'));
      }
    }
  }

  /**
   * Reads the state of a run.
   *
   * @returns undefined if the owner has no such run
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

  /** The runs that are produced here, or have clients here. */
  get views(): Iterable<RunView> {
    return this.#views.values();
  }

  /** How many runs are produced here, or about to be. */
  get live(): number {
    return this.#producers.live;
  }

  /** @returns a function that removes the listener */
  onEnd(listener: (end: RunEnd) => unknown): () => void {
    return this.caretaker.onEnd(listener);
  }

  /** @returns a function that removes the listener */
  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    return this.caretaker.onHandOver(listener);
  }

  /** Ends or hands over the runs that are produced here. Resolves when their clients here have the closing frames. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    await Promise.all(
      Array.from(this.#views.values(), async ({ producer, tail }) => {
        const produced = await producer?.leaveAtShutdown();
        if (produced?.last !== undefined) {
          // The records arrive after the append is confirmed. The clients here get their closing frames from them.
          await tail.reaches(produced.last, LAST_EVENTS_MS);
        }
      }),
    );
  }

  /** Resolves when the app was told of all runs that have ended, after `leaseMs` at the latest. */
  async settled(): Promise<void> {
    const { leaseMs } = this.#settings;
    this.#waitsUntil ??= performance.now() + leaseMs;
    // If it takes longer, another instance tells the app.
    await within(Promise.allSettled(this.#tasks), leaseMs);
  }

  /** Ends all timers and waits. The log may be closed after it. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#closed.abort();
    const { leaseMs } = this.#settings;
    const leftMs = this.#waitsUntil === undefined ? leaseMs : this.#waitsUntil - performance.now();
    // Saving an answer may take a while. If it takes longer, another instance saves the answer. What the abort has
    // ended still gives its lease back.
    await within(Promise.allSettled(this.#tasks), Math.max(leftMs, leaseMs / 4));
    this.caretaker.close();
    Array.from(this.#views.values()).forEach((view) => view.close());
  }

  #isProducedHere(name: string): boolean {
    return this.#views.get(name)?.producer?.hasEnded === false;
  }

  #forget(view: RunView): void {
    if (this.#views.get(view.name) === view) {
      this.#views.delete(view.name);
    }
  }

  /** Follows a run that is about to be produced here, so that its producer receives what other instances tell it. */
  async #follow(run: KnownRun): Promise<RunView> {
    const view = this.#viewOf(run, false);
    try {
      await Promise.all([view.start(), view.listen()]);
    } catch (error) {
      view.close();
      throw error;
    }
    return view;
  }

  #viewOf(run: KnownRun, hasEnded: boolean): RunView {
    const known = this.#views.get(run.name);
    if (known?.epoch === run.epoch && known.isLive) {
      return known;
    }
    const view = new RunView(run, this.#viewHost, hasEnded);
    // A view of an ended run is not shared: the run may be replaced at any time.
    if (!hasEnded) {
      this.#views.set(run.name, view);
    }
    return view;
  }

  #inBackground(task: Promise<unknown>): void {
    const watched = task
      .catch((error: unknown) =>
        this.#reporter.error('Something about a run failed that nobody waits for.', error),
      )
      .finally(() => this.#tasks.delete(watched));
    this.#tasks.add(watched);
  }

  /** Waits for a task whose failure is reported elsewhere. */
  async #quietly(task: Promise<unknown>): Promise<void> {
    try {
      await task;
    } catch (error) {
      this.#reporter.debug(`A run cannot be followed: ${String(error)}`);
    }
  }

  /** Warns an app that passes the owner in one call and not in the next: it does not find its run. */
  #warnOfOwner(id: string, owner: string | undefined): void {
    if (this.#hasWarnedOfOwner || owner !== undefined) {
      return;
    }
    if (Array.from(this.#views.values()).some((view) => view.id === id && view.begin.owner !== undefined)) {
      this.#hasWarnedOfOwner = true;
      this.#reporter.warn(
        `There is no run ${show(id)} without an owner, and this process has one that was started with an owner. ` +
          'A run is found with its owner alone: call attach, stop and status of runs.of(owner), as start was called.',
      );
    }
  }

  #refuseIfClosing(): void {
    if (this.#isDraining) {
      throw new SseError('closed', 'The app is shutting down: the run was not started.');
    }
  }
}
