import type { PageListener } from '../../../lib/client/page.js';
import type { TabChannel, TabEnvironment, TabLocks } from '../../../lib/client/sharing/tab-environment.js';

interface LockRequest {
  readonly tab: FakeTab;
  readonly name: string;
  readonly grant: () => void;
  readonly lose: (error: Error) => void;
}

/** A browser with tabs in one process: Web Locks and channels that behave as those of several processes. */
export class FakeBrowser {
  readonly tabs = new Set<FakeTab>();
  readonly #held = new Map<string, LockRequest>();
  #waiting: LockRequest[] = [];
  readonly storage = new Map<string, string>();
  /** How long a message takes to a tab, in milliseconds: those of one sender keep their order. */
  delayMs: (to: FakeTab) => number = () => 1;

  open({ isVisible = true } = {}): FakeTab {
    const tab = new FakeTab(this, isVisible);
    this.tabs.add(tab);
    return tab;
  }

  /** The tab that holds a lock, of any name. */
  get leader(): FakeTab | undefined {
    return [...this.#held.values()][0]?.tab;
  }

  requestLock(request: LockRequest, isStolen: boolean): void {
    const held = this.#held.get(request.name);
    if (isStolen && held) {
      this.#held.set(request.name, request);
      held.lose(new DOMException('stolen', 'AbortError'));
      request.grant();
    } else {
      this.#waiting.push(request);
      this.#grantNext(request.name);
    }
  }

  releaseLock(request: LockRequest): void {
    this.#waiting = this.#waiting.filter((other) => other !== request);
    if (this.#held.get(request.name) === request) {
      this.#held.delete(request.name);
      this.#grantNext(request.name);
    }
  }

  waitsFor(request: LockRequest): boolean {
    return this.#waiting.includes(request);
  }

  waitingFor(): { pending: { name: string }[] } {
    return { pending: this.#waiting.map(({ name }) => ({ name })) };
  }

  /** A tab is gone, with all its locks. */
  forget(tab: FakeTab): void {
    this.tabs.delete(tab);
    [...this.#waiting, ...this.#held.values()]
      .filter((request) => request.tab === tab)
      .forEach((request) => this.releaseLock(request));
  }

  deliver(from: FakeTab, sender: FakeChannel, message: unknown): void {
    for (const tab of this.tabs) {
      tab.channels
        .filter((channel) => channel !== sender && channel.name === sender.name)
        .forEach((channel) => channel.receive(from, structuredClone(message), this.delayMs(tab)));
    }
  }

  #grantNext(name: string): void {
    const next = this.#waiting.find((request) => request.name === name);
    if (next && !this.#held.has(name)) {
      this.#waiting = this.#waiting.filter((other) => other !== next);
      this.#held.set(name, next);
      next.grant();
    }
  }
}

/** A channel of one tab. */
class FakeChannel implements TabChannel {
  #listener: ((event: { readonly data: unknown }) => void) | undefined;
  #isClosed = false;
  #timers: NodeJS.Timeout[] = [];
  /** When the last message of each sender arrives. */
  readonly #lastAt = new Map<FakeTab, number>();

  constructor(
    readonly name: string,
    readonly tab: FakeTab,
  ) {}

  addEventListener(_type: 'message', listener: (event: { readonly data: unknown }) => void): void {
    this.#listener = listener;
  }

  postMessage(message: unknown): void {
    if (this.#isClosed) {
      throw new DOMException('closed', 'InvalidStateError');
    }
    this.tab.whenAwake(() => this.tab.browser.deliver(this.tab, this, message));
  }

  receive(from: FakeTab, data: unknown, delayMs: number): void {
    const at = Math.max(Date.now() + delayMs, this.#lastAt.get(from) ?? 0);
    this.#lastAt.set(from, at);
    const timer = setTimeout(
      () => this.tab.whenAwake(() => !this.#isClosed && this.#listener?.({ data })),
      at - Date.now(),
    );
    this.#timers.push(timer);
  }

  /** Loses what is on its way. */
  drop(): void {
    this.#timers.forEach((timer) => clearTimeout(timer));
  }

  close(): void {
    this.#isClosed = true;
    this.tab.channels = this.tab.channels.filter((channel) => channel !== this);
  }
}

/** A tab, which can hang, crash, and go into the cache of the back button. */
export class FakeTab {
  channels: FakeChannel[] = [];
  readonly #page = new Set<PageListener>();
  #isVisible: boolean;
  #isDead = false;
  /** What happens once the tab is awake. */
  #asleep: (() => void)[] | undefined;
  readonly environment: TabEnvironment;

  constructor(
    readonly browser: FakeBrowser,
    isVisible: boolean,
  ) {
    this.#isVisible = isVisible;
    this.environment = {
      locks: this.#locks(),
      openChannel: (name) => this.#openChannel(name),
      isVisible: () => this.#isVisible && !this.#asleep && !this.#isDead,
      watch: (listener) => {
        this.#page.add(listener);
        return () => void this.#page.delete(listener);
      },
      readMark: (name) => browser.storage.get(name) ?? null,
      writeMark: (name, mark) => void browser.storage.set(name, mark),
    };
  }

  get isHung(): boolean {
    return this.#asleep !== undefined;
  }

  /** Runs something now, or once the tab is awake; never if it is gone. */
  whenAwake(run: () => void): void {
    if (this.#isDead) {
      return;
    }
    if (this.#asleep) {
      this.#asleep.push(run);
    } else {
      run();
    }
  }

  hang(): void {
    this.#asleep ??= [];
  }

  wake(): void {
    const asleep = this.#asleep ?? [];
    this.#asleep = undefined;
    asleep.forEach((run) => run());
  }

  /** Is gone without a word. */
  crash(): void {
    this.#isDead = true;
    this.#page.clear();
    this.channels.forEach((channel) => channel.close());
    this.browser.forget(this);
  }

  /** Is left, as by a reload: `pagehide`, and then it is gone. */
  leave(): void {
    this.hide();
    this.crash();
  }

  /** Goes into the cache of the back button. */
  hide(): void {
    [...this.#page].forEach((listener) => listener.leave());
  }

  show(): void {
    [...this.#page].forEach((listener) => listener.comeBack());
  }

  setVisible(isVisible: boolean): void {
    this.#isVisible = isVisible;
    if (isVisible) {
      [...this.#page].forEach((listener) => listener.wake('visible'));
    }
  }

  #openChannel(name: string): FakeChannel {
    const channel = new FakeChannel(name, this);
    this.channels.push(channel);
    return channel;
  }

  #locks(): TabLocks {
    return {
      request: (name, { steal = false, signal }, callback) =>
        new Promise((resolve, reject) => {
          const request: LockRequest = {
            tab: this,
            name,
            grant: () =>
              // Granted in a turn of its own, as by another process.
              void setTimeout(() =>
                this.whenAwake(() => {
                  void Promise.resolve(callback()).then(() => {
                    this.browser.releaseLock(request);
                    resolve(undefined);
                  });
                }),
              ),
            lose: (error) => void setTimeout(() => this.whenAwake(() => reject(error))),
          };
          signal?.addEventListener('abort', () => {
            // One that is granted already is no longer cancelled.
            if (this.browser.waitsFor(request)) {
              this.browser.releaseLock(request);
              reject(signal.reason as Error);
            }
          });
          this.whenAwake(() => this.browser.requestLock(request, steal));
        }),
      query: () => new Promise((resolve) => this.whenAwake(() => resolve(this.browser.waitingFor()))),
    };
  }
}
