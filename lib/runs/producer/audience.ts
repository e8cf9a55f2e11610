import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { StartSettings } from '../options.js';

/** An instance is taken for gone after this many intervals without a notice. */
const MISSED = 2.5;

/** The clients of a run on all instances. If there are none, it ends the run as the start settings say. */
export class RunAudience {
  readonly #wheel: DeadlineWheel;
  readonly #settings: Pick<StartSettings, 'onDisconnect' | 'orphanMs'>;
  readonly #presenceMs: number;
  readonly #end: (reason: 'client' | 'orphan') => void;
  /** Other instances that have clients of the run. Each counts as gone after its deadline, unless it is renewed. */
  readonly #others = new Map<string, Deadline>();
  #here = 0;
  #hadSome = false;
  #orphaned: Deadline | undefined;
  #isClosed = false;

  /** @param options - `end` is called when the run has to end for want of clients */
  constructor(
    settings: Pick<StartSettings, 'onDisconnect' | 'orphanMs'>,
    options: { wheel: DeadlineWheel; presenceMs: number; end: (reason: 'client' | 'orphan') => void },
  ) {
    this.#settings = settings;
    this.#wheel = options.wheel;
    this.#presenceMs = options.presenceMs;
    this.#end = options.end;
    this.#evaluate();
  }

  /** Sets the number of clients on this instance. */
  setHere(count: number): void {
    this.#here = count;
    this.#evaluate();
  }

  /** Adds another instance, which has clients, or renews it. */
  addInstance(instance: string): void {
    this.#wheel.cancel(this.#others.get(instance));
    const missed = this.#wheel.schedule(this.#presenceMs * MISSED, () => this.removeInstance(instance));
    this.#others.set(instance, missed);
    this.#evaluate();
  }

  /** Removes another instance, which has no clients any more, or is gone. */
  removeInstance(instance: string): void {
    this.#wheel.cancel(this.#others.get(instance));
    this.#others.delete(instance);
    this.#evaluate();
  }

  close(): void {
    this.#isClosed = true;
    this.#others.forEach((deadline) => this.#wheel.cancel(deadline));
    this.#others.clear();
    this.#evaluate();
  }

  #evaluate(): void {
    const { onDisconnect, orphanMs } = this.#settings;
    const isAlone = this.#here === 0 && this.#others.size === 0;
    this.#hadSome ||= !isAlone;
    if (!isAlone || this.#isClosed) {
      this.#wheel.cancel(this.#orphaned);
      this.#orphaned = undefined;
    } else if (onDisconnect === 'abort' && this.#hadSome) {
      this.#end('client');
    } else if (orphanMs !== undefined) {
      this.#orphaned ??= this.#wheel.schedule(orphanMs, () => this.#end('orphan'));
    }
  }
}
