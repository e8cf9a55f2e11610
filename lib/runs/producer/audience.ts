import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { StartSettings } from '../options.js';

/** How many of the times at which an instance says that it has clients may be missed. */
const MISSED = 2.5;

/** Who is attached to a run, on this instance and on others, and what is done when nobody is. */
export class RunAudience {
  readonly #wheel: DeadlineWheel;
  readonly #settings: Pick<StartSettings, 'onDisconnect' | 'orphanMs'>;
  readonly #presenceMs: number;
  readonly #end: (reason: 'client' | 'orphan') => void;
  /** Other instances with clients, each with the time at which it is taken for gone. */
  readonly #others = new Map<string, Deadline>();
  #here = 0;
  #hadSome = false;
  #orphaned: Deadline | undefined;
  #isClosed = false;

  /** @param leave called when nobody wants the run any more */
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

  /** How many clients there are on this instance. */
  setHere(count: number): void {
    this.#here = count;
    this.#evaluate();
  }

  /** Another instance says that it has some. */
  addInstance(instance: string): void {
    this.#wheel.cancel(this.#others.get(instance));
    const missed = this.#wheel.schedule(this.#presenceMs * MISSED, () => this.removeInstance(instance));
    this.#others.set(instance, missed);
    this.#evaluate();
  }

  /** Another instance has none any more, or is gone. */
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
