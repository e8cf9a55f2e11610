import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeadlineWheel, PublicError, Reporter, SseConnection } from '../connection/index.js';
import { LogEvent } from '../log/index.js';
import type { EventLogStore, Lease, LogPage, LogTail } from '../log/index.js';
import { SseError } from '../sse.errors.js';
import { parsePosition } from '../wire/index.js';
import type { PositionParts } from '../wire/index.js';
import { toFormat } from './formats/index.js';
import { RunAudience } from './run.audience.js';
import { RunFollower } from './run.follower.js';
import type { RunEnd, RunHandOver, RunSettings, RunSource } from './run.options.js';
import { RunProducer } from './run.producer.js';
import type { Produced } from './run.producer.js';
import { controlRecord, eventRecords } from './run.records.js';
import type { RunBegin, RunEnding } from './run.records.js';
import { RunSettlement } from './run.settlement.js';
import { knownRun, nameOf, outcomeOf, readItems, readState } from './run.state.js';
import type { RunState } from './run.state.js';
import { RunView } from './run.view.js';
import type { KnownRun, ViewHost } from './run.view.js';
import { RunWords } from './run.words.js';

/** What all runs of an app have in common. */
export interface RunsSettings {
  readonly leaseMs: number;
  readonly ringBytes: number;
  readonly maxEventBytes: number;
  readonly maxLagMs: number;
}

/** What runs need around them. */
export interface RunsContext {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly publicError: (error: unknown) => PublicError;
}

/** A run, and the place in it where a client is to begin. */
export interface FoundRun {
  readonly run: KnownRun;
  readonly cursor: number;
  /** What follows it, as far as it was read with the run. */
  readonly ahead: readonly LogEvent[];
  /** Whether the run has ended, where that is known. */
  readonly hasEnded: boolean;
  /** Whether there is nothing after the place, and never will be. */
  readonly hasNothingMore: boolean;
}

// One request of an engine, within a few milliseconds.
const FIRST_RECORDS = 1_000;
// What others say in the log of a run, beside its events.
const CONTROL_RECORDS = 10_000;
// Beyond the events of a log in memory it costs nothing to append; on an engine it is a way there and back.
const SHARED_BATCH_MS = 10;
const TURN_MS = 25;
/** How long a closing app waits for the tail of a run. */
const LAST_EVENTS_MS = 500;
const AHEAD_WAIT_MS = 2_000;
const LONGEST_RETRY_MS = 30_000;
const LAST_TRIES = 40;
const PRESENCE_MS = 10_000;

/** The runs of an app: those that this process makes, and those that its clients are attached to. */
export class Runs implements ViewHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly instance = randomUUID();
  readonly leaseMs: number;
  readonly ringBytes: number;
  readonly #store: EventLogStore;
  readonly #settings: RunsSettings;
  readonly #context: RunsContext;
  readonly #settlement: RunSettlement;
  readonly #views = new Map<string, RunView>();
  readonly #handOverListeners = new Set<(run: RunHandOver) => unknown>();
  /** What goes on in the background, and must be over before the log is closed. */
  readonly #tasks = new Set<Promise<unknown>>();
  readonly #closed = new AbortController();
  #isDraining = false;

  constructor(store: EventLogStore, settings: RunsSettings, context: RunsContext) {
    this.#store = store;
    this.#settings = settings;
    this.#context = context;
    this.leaseMs = settings.leaseMs;
    this.ringBytes = settings.ringBytes;
    this.wheel = context.wheel;
    this.reporter = context.reporter;
    const { reporter } = context;
    this.#settlement = new RunSettlement(store, {
      reporter,
      leaseMs: this.leaseMs,
      closed: this.#closed.signal,
    });
  }

  /**
   * Starts a run, unless one with the id is live, on whichever instance.
   *
   * @returns whether it was started, once it can be attached to
   * @throws SseError `log-unavailable`, `publish-failed`, `closed`
   */
  async start(id: string, source: RunSource, settings: RunSettings): Promise<boolean> {
    this.#refuseIfClosed();
    const known = this.#views.get(id);
    if (known?.producer && !known.producer.isOver) {
      return false;
    }
    const lease = await this.#takeTurn(id);
    if (!lease) {
      return false;
    }
    try {
      this.#refuseIfClosed();
      const { view, producer, recorded } = await this.#begin(id, lease, settings);
      this.#inBackground(this.#produce(view, lease, () => producer.produce(source, recorded), settings));
      return true;
    } catch (error) {
      await this.#giveBack(lease);
      throw error;
    }
  }

  /**
   * Finds a run and the place in it where a client is to begin.
   *
   * @param options.lastEventId what the client has seen last
   * @param options.mustKnowEnd whether it is to be asked for the end of a long one
   * @returns undefined where there is none
   * @throws SseError `run-forbidden` where it is another's; `run-replaced` where the place is in no run
   * that is there; `log-unavailable`, `closed`
   */
  async find(
    id: string,
    options: {
      owner: string | undefined;
      lastEventId: string | undefined;
      mustKnowEnd: (begin: RunBegin) => boolean;
    },
  ): Promise<FoundRun | undefined> {
    const { lastEventId } = options;
    const after = lastEventId === undefined ? undefined : parsePosition(lastEventId);
    const view = this.#views.get(id);
    if (view?.isLive) {
      refuseOthers(view.begin, options.owner);
      if (lastEventId !== undefined) {
        await this.#refuseForeign(view, after);
      }
      return { run: view, cursor: after?.sequence ?? 0, ahead: [], hasEnded: false, hasNothingMore: false };
    }
    // At once, so that both are one way there and back.
    const [first, rest] = await Promise.all([
      this.#store.find(nameOf(id), { from: 1, limit: after ? 1 : FIRST_RECORDS }),
      after && this.#store.find(nameOf(id), { from: after.sequence, limit: FIRST_RECORDS }),
    ]);
    const run = first && knownRun(id, first.log, first.page);
    if (!run) {
      return undefined;
    }
    refuseOthers(run.begin, options.owner);
    if (lastEventId !== undefined && !(after && rest && isAnchoredIn(rest.page, after))) {
      throw replaced(id);
    }
    return this.#placeIn(run, (rest ?? first).page, after?.sequence ?? 0, options.mustKnowEnd(run.begin));
  }

  /** Attaches a client. Its connection has committed nothing. */
  attach(connection: SseConnection, { run, cursor, ahead, hasEnded }: FoundRun): RunFollower {
    const view = this.#viewOf(run, hasEnded);
    const follower = new RunFollower(connection, view, {
      cursor,
      ahead,
      wheel: this.wheel,
      maxLagMs: this.#settings.maxLagMs,
    });
    view.add(follower);
    follower.begin();
    const { handedOverAt } = outcomeOf(ahead.map(({ record }) => record));
    if (handedOverAt !== undefined) {
      this.onHandedOver(view);
    }
    return follower;
  }

  /**
   * Ends a run, on whichever instance it is made.
   *
   * @returns whether it was live; undefined where there is none
   * @throws SseError `run-forbidden`, `log-unavailable`, `publish-failed`, `closed`
   */
  async stop(id: string, owner: string | undefined): Promise<boolean | undefined> {
    const view = this.#views.get(id);
    if (view?.producer && !view.producer.isOver) {
      refuseOthers(view.begin, owner);
      await view.producer.end('stop');
      return true;
    }
    const state = await readState(this.#store, id);
    if (!state) {
      return undefined;
    }
    refuseOthers(state.begin, owner);
    if (state.ending) {
      return false;
    }
    await state.log.append([controlRecord('stop')]);
    // Where the one who makes it is gone, nobody heard that.
    this.#inBackground(this.finishIfDead(id));
    return true;
  }

  /** @throws SseError `run-forbidden`, `log-unavailable`, `closed` */
  async state(id: string, owner: string | undefined): Promise<RunState | undefined> {
    const state = await readState(this.#store, id);
    if (state) {
      refuseOthers(state.begin, owner);
    }
    return state;
  }

  onEnd(listener: (end: RunEnd) => unknown): () => void {
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

  /** Ends all that waits. The log may be closed then. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#closed.abort();
    // Whoever saves an answer may take a while; another instance saves it where it takes too long.
    await Promise.race([Promise.allSettled(this.#tasks), sleep(this.leaseMs, undefined, { ref: false })]);
    Array.from(this.#views.values()).forEach((view) => view.close());
  }

  /** Ends a run whose producer is gone: where nobody holds the lease of one that has not ended, nobody makes it. */
  async finishIfDead(id: string): Promise<void> {
    if (this.#closed.signal.aborted) {
      return;
    }
    const lease = await this.#store.lease(nameOf(id), { ttlMs: this.leaseMs });
    if (!lease) {
      return;
    }
    try {
      const state = await readState(this.#store, id);
      if (state && !state.ending && isFresh(state, this.leaseMs)) {
        this.#tellHandOver(state);
      } else if (state) {
        const ending = state.ending ?? (await this.#recordLoss(state, lease));
        await this.#settlement.settle(state, ending, { isSettled: state.isSettled });
      }
    } finally {
      await this.#giveBack(lease);
    }
  }

  onHandedOver(view: RunView): void {
    this.#tellHandOver(view);
  }

  onUnused(view: RunView): void {
    if (this.#views.get(view.id) === view) {
      this.#views.delete(view.id);
    }
  }

  async #begin(
    id: string,
    lease: Lease,
    settings: RunSettings,
  ): Promise<{ view: RunView; producer: RunProducer; recorded: readonly unknown[] }> {
    const previous = await this.#clearTheWay(id, lease);
    if (previous) {
      return this.#takeOver(previous, lease, settings);
    }
    const words = new RunWords(settings.format);
    const begin = this.#describe(settings, words);
    const { maxEvents } = settings;
    const limits = {
      maxEvents: maxEvents + CONTROL_RECORDS,
      ttlMs: Math.max(settings.ttlMs, 3 * this.leaseMs),
    };
    const log = await this.#store.open(nameOf(id), { ...limits, lease });
    const { epoch } = await log.append([controlRecord('begin', begin)], { lease });
    const view = await this.#produceIn({ id, epoch, begin, log });
    const producer = this.#producerOf(view, lease, { settings, words, limits });
    return { view, producer, recorded: [] };
  }

  /** Goes on with a run that another instance has left. */
  async #takeOver(
    state: RunState,
    lease: Lease,
    settings: RunSettings,
  ): Promise<{ view: RunView; producer: RunProducer; recorded: readonly unknown[] }> {
    const { items, events, bytes } = await readItems(state);
    // One of its own where that is to be had: what it was told for another client is no matter of this run.
    const words = new RunWords(settings.formatName ? toFormat(settings.formatName) : settings.format);
    // A format that keeps state has to have seen what was made before.
    items.forEach((item) => words.encode(item));
    await state.log.append([controlRecord('taken-over')], { lease });
    const view = await this.#produceIn(state);
    const limits = { maxEvents: settings.maxEvents + CONTROL_RECORDS, ttlMs: settings.ttlMs };
    const producer = this.#producerOf(view, lease, { settings, words, limits, before: { events, bytes } });
    return { view, producer, recorded: items };
  }

  /** Follows the run, so that this process hears what others want of it. */
  async #produceIn(run: KnownRun): Promise<RunView> {
    const view = this.#viewOf(run, false);
    await view.start();
    return view;
  }

  #producerOf(
    view: RunView,
    lease: Lease,
    options: {
      settings: RunSettings;
      words: RunWords;
      limits: { maxEvents: number; ttlMs: number };
      before?: { events: number; bytes: number };
    },
  ): RunProducer {
    const { settings, words, limits, before } = options;
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
        touch: () => this.#store.open(nameOf(view.id), limits),
      },
    });
    const audience = new RunAudience(settings, {
      wheel: this.wheel,
      presenceMs: view.begin.presenceMs ?? PRESENCE_MS,
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
      this.reporter.error(`The run ${JSON.stringify(view.id)} failed.`, error);
    }
    if (ending) {
      await this.#settlement.settle(view, ending, { isSettled: ending.isSettled, error, onEnd });
    } else if (error !== undefined) {
      this.reporter.error(
        `The run ${JSON.stringify(view.id)} was given up here: it could not be recorded.`,
        error,
      );
      await this.#finishLater(view.id);
    }
  }

  /** Has the log say that a run is over which could not say so itself, as soon as it can be reached. */
  async #finishLater(id: string): Promise<void> {
    let waitMs = TURN_MS;
    for (let tries = 0; tries < LAST_TRIES && !this.#closed.signal.aborted; tries += 1) {
      try {
        await this.finishIfDead(id);
        return;
      } catch (error) {
        this.reporter.debug(`A run that is over could not be ended in the log yet: ${String(error)}`);
      }
      waitMs = Math.min(LONGEST_RETRY_MS, waitMs * 2);
      await this.#pause(waitMs);
    }
  }

  /** The lease of a run, when its turn has come; undefined where one is live that clients can be attached to. */
  async #takeTurn(id: string): Promise<Lease | undefined> {
    const until = performance.now() + 2 * this.leaseMs;
    for (;;) {
      const lease = await this.#store.lease(nameOf(id), { ttlMs: this.leaseMs });
      if (lease) {
        return lease;
      }
      const state = await readState(this.#store, id);
      if (state && !state.ending) {
        return undefined;
      }
      // Somebody is about to begin it, or to finish the one before.
      if (performance.now() > until) {
        throw new SseError(
          'log-unavailable',
          'The run could not be started: its lease is held, and nothing comes of it.',
        );
      }
      await this.#pause(TURN_MS);
      this.#refuseIfClosed();
    }
  }

  /** Ends what stood under the id before. @returns a run that was left for another to go on with */
  async #clearTheWay(id: string, lease: Lease): Promise<RunState | undefined> {
    const state = await readState(this.#store, id);
    if (!state) {
      return undefined;
    }
    if (!state.ending && state.handedOverAt !== undefined) {
      return state;
    }
    const ending = state.ending ?? (await this.#recordLoss(state, lease));
    await this.#settlement.settleBefore(state, ending);
    return undefined;
  }

  async #recordLoss(state: RunState, lease: Lease): Promise<RunEnding> {
    const { events, bytes } = await readItems(state);
    const { lost, isCut } = state.begin;
    const ending: RunEnding = {
      reason: state.handedOverAt === undefined ? 'error' : 'shutdown',
      events,
      bytes,
      failure: this.#context.publicError(undefined),
      isCut,
      isSettled: false,
    };
    const last = lost.map((event) => ({ topic: 'last', ...event }));
    await state.log.append([...last, controlRecord('end', ending)], { lease });
    return ending;
  }

  #describe(settings: RunSettings, words: RunWords): RunBegin {
    const { owner, formatName, orphanMs, onDisconnect } = settings;
    // Of a format of its own kind: the words for a failure must not change what the run's own says next.
    const spare = new RunWords(formatName ? toFormat(formatName) : settings.format);
    const { events, isCut } = spare.ofEnding('error', this.#context.publicError(undefined));
    const lost = eventRecords('last', events, { maxEventBytes: Infinity });
    const wantsPresence = onDisconnect === 'abort' || orphanMs !== undefined;
    return {
      ...(owner === undefined ? {} : { owner }),
      ...(formatName === undefined ? {} : { format: formatName }),
      hasFormat: settings.format !== undefined,
      ...(words.headers ? { headers: words.headers } : {}),
      lost: lost.map(({ topic: _topic, ...event }) => event),
      isCut,
      ...(wantsPresence
        ? { presenceMs: Math.min(PRESENCE_MS, Math.max(1_000, (orphanMs ?? Infinity) / 3)) }
        : {}),
      startedAt: Date.now(),
    };
  }

  #viewOf(run: KnownRun, hasEnded: boolean): RunView {
    const known = this.#views.get(run.id);
    if (known?.epoch === run.epoch && known.isLive) {
      return known;
    }
    const view = new RunView(run, this);
    // One that has ended is read by those who want it, and may be replaced at any time.
    if (!hasEnded) {
      this.#views.set(run.id, view);
    }
    return view;
  }

  async #placeIn(run: KnownRun, page: LogPage, cursor: number, mustKnowEnd: boolean): Promise<FoundRun> {
    const records = page.records.filter(({ sequence }) => sequence > cursor);
    const isWhole = (page.records.at(-1)?.sequence ?? cursor) >= page.head;
    const last = isWhole || !mustKnowEnd ? outcomeOf(records) : await readState(this.#store, run.id);
    const hasEnded = last?.ending !== undefined;
    return {
      run,
      cursor,
      ahead: records.map((record) => new LogEvent(record, page.epoch)),
      hasEnded,
      hasNothingMore:
        hasEnded && isWhole && !records.some(({ topic }) => topic === 'item' || topic === 'last'),
    };
  }

  async #refuseForeign({ id, epoch, tail }: RunView, after: PositionParts | undefined): Promise<void> {
    const isOfRun = after !== undefined && after.epoch === epoch && (await isAnchoredAt(tail, after));
    if (!isOfRun) {
      throw replaced(id);
    }
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

  #refuseIfClosed(): void {
    if (this.#isDraining) {
      throw new SseError('closed', 'The app is shutting down: the run was not started.');
    }
  }
}

function refuseOthers(begin: RunBegin, owner: string | undefined): void {
  if (begin.owner !== owner) {
    throw new SseError('run-forbidden', 'The run is another’s: it was started with another owner.');
  }
}

function replaced(id: string): SseError {
  return new SseError(
    'run-replaced',
    `The Last-Event-ID is no place in the run ${JSON.stringify(id)}: that run is over, and another has its id. ` +
      'Attach without one to get the other in full.',
  );
}

function isAnchoredIn({ epoch, records: [first] }: LogPage, after: PositionParts): boolean {
  return epoch === after.epoch && first?.sequence === after.sequence && first.nonce === after.nonce;
}

async function isAnchoredAt(tail: LogTail, after: PositionParts): Promise<boolean> {
  if (!(await tail.reaches(after.sequence, AHEAD_WAIT_MS))) {
    return false;
  }
  const isHeld = tail.holds(after);
  return isHeld ?? (await tail.pageAfter(after.sequence)).anchor?.record.nonce === after.nonce;
}

/** Whether another instance may be about to go on with it. */
function isFresh({ handedOverAt }: RunState, leaseMs: number): boolean {
  return handedOverAt !== undefined && Date.now() - handedOverAt < 2 * leaseMs;
}
