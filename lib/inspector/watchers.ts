import type { ListQuery } from './protocol.js';

/** Another instance on which pages are open. */
interface Watcher {
  readonly views: ReadonlyMap<string, ListQuery | undefined>;
  /** By the wheel's clock. */
  readonly until: number;
}

// What another program writes must neither fill the memory nor keep this process busy.
const MAX_WATCHERS = 200;
const MAX_LISTS = 50;

/** The other instances on which pages are open, and the lists that these look at. */
export class Watchers {
  readonly #now: () => number;
  readonly #lifeMs: number;
  readonly #watchers = new Map<string, Watcher>();

  /** @param lifeMs - how long an instance counts after it has written which pages it has, in milliseconds */
  constructor(now: () => number, lifeMs: number) {
    this.#now = now;
    this.#lifeMs = lifeMs;
  }

  get hasSome(): boolean {
    this.#forgetSilent();
    return this.#watchers.size > 0;
  }

  /** @returns whether it looks at something that it has not looked at before */
  put(by: string, views: ReadonlyMap<string, ListQuery | undefined>): boolean {
    this.#forgetSilent();
    const known = this.#watchers.get(by)?.views;
    if (views.size === 0) {
      this.#watchers.delete(by);
      return false;
    }
    if (!known && this.#watchers.size >= MAX_WATCHERS) {
      return false;
    }
    this.#watchers.set(by, { views, until: this.#now() + this.#lifeMs });
    return Array.from(views.keys()).some((view) => known?.has(view) !== true);
  }

  /** The lists that are looked at, at most 50, by the names of their views. */
  queries(): [view: string, query: ListQuery][] {
    return this.views().map(({ view, query }) => [view, query]);
  }

  /** The same, with the instances that look at them. */
  views(): { by: string; view: string; query: ListQuery }[] {
    return Array.from(this.#watchers)
      .flatMap(([by, { views }]) =>
        Array.from(views).flatMap(([view, query]) => (query ? [{ by, view, query }] : [])),
      )
      .slice(0, MAX_LISTS);
  }

  #forgetSilent(): void {
    const now = this.#now();
    for (const [by, { until }] of this.#watchers) {
      if (until <= now) {
        this.#watchers.delete(by);
      }
    }
  }
}
