import { SseError } from 'nestjs-event-stream';
import { memory } from '../../../lib/engines/memory/index.js';
import type { EventLog, EventLogStore, NamedLog } from '../../../lib/log/index.js';

/** What the calls of a log fail with. */
const CODES = new Map<string | symbol, 'publish-failed' | 'log-unavailable'>([
  ['append', 'publish-failed'],
  ['notify', 'publish-failed'],
  ['page', 'log-unavailable'],
  ['head', 'log-unavailable'],
  ['follow', 'log-unavailable'],
  ['lastNotice', 'log-unavailable'],
]);

/** A log in memory whose engine a test can take away and bring back. */
export class AwayLog implements EventLogStore {
  readonly #store: EventLogStore;
  readonly log: EventLog;
  /** What every call fails with, as an engine's does that cannot be reached. */
  isAway = false;
  isShared = false;

  constructor(store: EventLogStore = memory()()) {
    this.#store = store;
    this.log = this.#fallible(store.log);
  }

  get health() {
    return this.#store.health;
  }

  async open(name: string, options: Parameters<EventLogStore['open']>[1]): Promise<NamedLog> {
    this.#refuseIfAway('log-unavailable');
    return this.#fallible(await this.#store.open(name, options));
  }

  async find(name: string, page: { from: number; limit: number }) {
    this.#refuseIfAway('log-unavailable');
    const found = await this.#store.find(name, page);
    return found && { ...found, log: this.#fallible(found.log) };
  }

  async lease(name: string, options: { ttlMs: number }) {
    this.#refuseIfAway('log-unavailable');
    return this.#store.lease(name, options);
  }

  async claim(name: string, options: { ttlMs: number }) {
    this.#refuseIfAway('log-unavailable');
    return this.#store.claim(name, options);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** The same log, whose calls that need the engine fail while it is away. */
  #fallible<L extends EventLog>(log: L): L {
    return new Proxy(log, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') {
          return member;
        }
        const code = CODES.get(name);
        return code === undefined
          ? member.bind(target)
          : async (...given: unknown[]) => {
              this.#refuseIfAway(code);
              return (await Reflect.apply(member, target, given)) as unknown;
            };
      },
    });
  }

  #refuseIfAway(code: 'publish-failed' | 'log-unavailable'): void {
    if (this.isAway) {
      throw new SseError(code, 'redis://user:password@host is away', { isOutcomeKnown: false });
    }
  }
}
