import { show, SseError } from '../../errors/index.js';
import type { Reporter } from '../../errors/index.js';
import { NO_KEYS, RUN_MS } from '../../limits/index.js';
import type { Limits } from '../../limits/index.js';
import type { Lease } from '../../log/index.js';
import type { DeadlineWheel } from '../../time/index.js';
import type { RunCounts } from '../counts.js';
import type { StartSettings, RunSource } from '../options.js';
import { nameOf, releaseLease } from '../record/index.js';
import type { KnownRun } from '../record/index.js';
import { producedWithin } from '../run-tracer.js';
import type { RunTracer } from '../run-tracer.js';
import { openRun, takeTurn } from './opening.js';
import type { OpenedRun, OpeningContext } from './opening.js';
import { RunProducer } from './producer.js';

/** A run that is produced here. It passes on to the producer what clients and other instances want. */
export interface ProducedRun extends KnownRun {
  /** Takes the producer, which is on this instance. */
  produceBy(producer: RunProducer): void;
  /** Drops the producer, which has ended. */
  forgetProducer(): void;
  /** Resolves when the slowest client of this instance takes more. */
  clientsKeepUp(): Promise<void>;
}

/** The parts of an instance that its producers use. */
export interface ProducersContext extends OpeningContext {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly maxEventBytes: number;
  /** The most runs that this instance produces at once. */
  readonly maxRuns: number;
  readonly limits: Limits;
  readonly counts: RunCounts;
  /** Returns undefined if nothing is traced. */
  readonly tracer: () => RunTracer | undefined;
  /** Follows a run before its producer begins, so that no stop and no client is missed. */
  follow(run: KnownRun): Promise<ProducedRun>;
  /** Runs a task that no caller awaits. The log stays open until the task is over. */
  inBackground(task: Promise<unknown>): void;
}

// An append to a log in memory costs no time. On an engine it is a round trip, which items share.
const SHARED_BATCH_MS = 10;

/** The runs that this instance produces. */
export class RunProducers {
  readonly #context: ProducersContext;
  #places = 0;

  constructor(context: ProducersContext) {
    this.#context = context;
  }

  /**
   * Starts a run, unless it is live on another instance, or has ended and is kept.
   *
   * @returns whether it was started, once clients can attach to it
   * @throws SseError `run-refused`, `log-unavailable`, `publish-failed`, `closed`, `run-forbidden`
   */
  async start(id: string, source: RunSource, settings: StartSettings): Promise<boolean> {
    // Before the first await: otherwise many starts in one turn would all find a free place.
    const leave = this.#place(settings.owner);
    let isProduced = false;
    try {
      isProduced = await this.#start(id, source, settings, () => leave({ wasStarted: true }));
      this.#context.counts.started += isProduced ? 1 : 0;
      return isProduced;
    } finally {
      if (!isProduced) {
        leave({ wasStarted: false });
      }
    }
  }

  /** Number of the runs that this instance produces, or is about to. */
  get live(): number {
    return this.#places;
  }

  #place(owner: string | undefined): ReturnType<Limits['startRun']> {
    try {
      return this.#reserve(owner);
    } catch (error) {
      this.#context.counts.refused += 1;
      throw error;
    }
  }

  async #start(
    id: string,
    source: RunSource,
    settings: StartSettings,
    onEnded: () => void,
  ): Promise<boolean> {
    const { caretaker, reporter } = this.#context;
    const name = nameOf(id, settings.owner);
    const lease = await takeTurn(name, settings.owner, this.#context);
    if (!lease) {
      return false;
    }
    try {
      this.#context.refuseIfClosing();
      // Noted before the log exists: otherwise a process that dies in between would leave a run without a caretaker.
      await caretaker.noteBegun(name, 'none yet');
      const opened = await openRun(name, lease, settings, this.#context);
      if (!opened) {
        await releaseLease(lease, reporter);
        return false;
      }
      await caretaker.noteBegun(name, opened.run.epoch);
      const run = await this.#context.follow(opened.run);
      this.#context.refuseIfClosing();
      const producer = this.#producerOf(run, lease, opened, settings);
      producer.whenClosed(onEnded);
      run.produceBy(producer);
      const produced = () => producer.produce(source, opened.before.items);
      const span = this.#context.tracer()?.run({ id, format: settings.formatName });
      const produce = span ? () => producedWithin(span, produced) : produced;
      this.#context.inBackground(this.#produce(run, lease, produce, settings));
      return true;
    } catch (error) {
      await releaseLease(lease, reporter);
      throw error;
    }
  }

  #producerOf(
    run: ProducedRun,
    lease: Lease,
    { format, limits, before }: OpenedRun,
    settings: StartSettings,
  ): RunProducer {
    const { store, caretaker, ...context } = this.#context;
    return new RunProducer(run, lease, settings, {
      format,
      before,
      context: {
        ...context,
        batchMs: store.isShared ? SHARED_BATCH_MS : 0,
        clientsKeepUp: () => run.clientsKeepUp(),
        isEndWanted: () => settings.onEnd !== undefined || caretaker.hasListeners,
        touch: () => store.open(run.name, limits),
      },
    });
  }

  /** Produces a run from its start to its end. Makes sure that the end is recorded and the app is told. */
  async #produce(
    run: ProducedRun,
    lease: Lease,
    produce: () => ReturnType<RunProducer['produce']>,
    { onEnd }: StartSettings,
  ): Promise<void> {
    const { caretaker, reporter, counts } = this.#context;
    const { ending, error } = await produce();
    run.forgetProducer();
    await releaseLease(lease, reporter);
    if (ending?.reason === 'error') {
      reporter.error(`The run ${show(run.id)} failed.`, error);
    }
    if (ending) {
      counts.ended[ending.reason] += 1;
      await caretaker.settleProduced(run, ending, { error, onEnd });
    } else if (error !== undefined) {
      reporter.error(`The run ${show(run.id)} was given up here: it could not be recorded.`, error);
      await caretaker.finishLater(run.name, { error, onEnd });
    }
  }

  /**
   * Takes a place among the runs that this instance produces. A run belongs to its owner.
   *
   * @returns a function that gives the place back, once
   * @throws SseError `run-refused`
   */
  #reserve(owner: string | undefined): ReturnType<Limits['startRun']> {
    const { maxRuns, limits } = this.#context;
    if (this.#places >= maxRuns) {
      throw new SseError(
        'run-refused',
        `The run was not started: this process makes ${maxRuns} already, which is runs.maxRuns.`,
        { field: 'runs.maxRuns', retryAfterMs: RUN_MS },
      );
    }
    const leave = limits.startRun(owner === undefined ? NO_KEYS : [owner]);
    this.#places += 1;
    let hasLeft = false;
    return (outcome) => {
      if (!hasLeft) {
        hasLeft = true;
        this.#places -= 1;
        leave(outcome);
      }
    };
  }
}
