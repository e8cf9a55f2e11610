import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import { FakeBrowser } from '../../../test/support/clients/fake-browser.js';
import { settled } from '../../../test/support/clients/scripted-fetch.js';
import { TabPage } from '../../../test/support/clients/tab-page.js';
import { TabServer } from '../../../test/support/clients/tab-server.js';
import type { Beginning } from '../../../test/support/clients/tab-server.js';
import { Random } from '../../../test/support/random.js';

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ act: fc.constantFrom('publish', 'publish', 'elsewhere') }) },
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant('pass'), ms: fc.constantFrom(1, 20, 400, 1_500, 6_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ act: fc.constantFrom('cut', 'restart', 'trim', 'open', 'away', 'back') }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      act: fc.constantFrom('leave', 'crash', 'reload', 'hang', 'wake', 'hide', 'show', 'veil', 'see'),
      // The tab that leads is what most of the protocol is about.
      whom: fc.oneof(fc.constant(undefined), fc.nat(5)),
    }),
  },
);
type Step = { act: string; ms?: number; whom?: number | undefined };

describe('tabs that share a connection', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it.each<[Beginning, number]>([
    ['place', 1_000],
    ['snapshot', 1_000],
    ['place', 2],
    ['snapshot', 3],
  ])(
    'have each event once, for any schedule (%s, %i events kept)',
    async (beginning, replayEvents) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer(), async (schedule, seed) => {
          const stage = new Stage(beginning, replayEvents, seed);
          try {
            for (const each of schedule as Step[]) {
              await stage.do(each);
            }
            await stage.calmDown();
            expect(stage.faults).toEqual([]);
          } finally {
            await stage.end();
          }
        }),
        { numRuns: 20 },
      );
    },
    120_000,
  );
});

/** A browser, a server, and what happens to them. */
class Stage {
  readonly browser = new FakeBrowser();
  readonly server: TabServer;
  readonly #replayEvents: number;
  readonly #random: Random;
  pages: TabPage[] = [];
  readonly #hidden = new Set<TabPage>();
  readonly #gone: TabPage[] = [];

  constructor(beginning: Beginning, replayEvents: number, seed: number) {
    this.server = new TabServer(beginning);
    this.#replayEvents = replayEvents;
    this.#random = new Random(seed);
    this.browser.delayMs = () => this.#random.between(0, 8);
    this.#open();
    this.#open();
    this.#open();
  }

  async do({ act, ms = 1, whom }: Step): Promise<void> {
    const { server } = this;
    const page = this.#choose(whom);
    const acts: Record<string, () => unknown> = {
      publish: () => server.publish(),
      elsewhere: () => server.publishElsewhere(),
      cut: () => server.cut(),
      restart: () => server.restart(),
      trim: () => server.trim(),
      away: () => {
        server.isAway = true;
        server.cut();
      },
      back: () => (server.isAway = false),
      open: () => this.pages.length < 6 && this.#open(),
      leave: () => this.#remove(page, 'leave'),
      crash: () => this.#remove(page, 'crash'),
      reload: () => {
        this.#remove(page, 'leave');
        this.#open();
      },
      hang: () => page?.tab.hang(),
      wake: () => page?.tab.wake(),
      hide: () => {
        if (page && !page.tab.isHung && !this.#hidden.has(page)) {
          this.#hidden.add(page);
          page.tab.hide();
        }
      },
      show: () => page && this.#show(page),
      veil: () => page?.tab.setVisible(false),
      see: () => page?.tab.setVisible(true),
      pass: () => undefined,
    };
    acts[act]!();
    await this.#pass(ms);
  }

  /** Everything works from here on, and there is time. */
  async calmDown(): Promise<void> {
    this.server.isAway = false;
    this.pages.forEach((page) => page.tab.wake());
    this.pages.forEach((page) => this.#show(page));
    this.pages.forEach((page) => page.tab.setVisible(true));
    await this.#pass(12_000);
    this.server.publish();
    await this.#pass(4_000);
    this.server.publish();
    await this.#pass(1_000);
  }

  get faults(): unknown[] {
    const { server, pages } = this;
    const behind = pages.filter(({ known }) => known !== server.count);
    return [
      ...[...pages, ...this.#gone].flatMap(({ faults }) => faults),
      ...behind.map(({ known, feed, log }) => ({ known, of: server.count, status: feed.status, log })),
      ...(server.connections.length === Math.min(1, pages.length)
        ? []
        : [`${server.connections.length} open`]),
    ];
  }

  async end(): Promise<void> {
    this.pages.forEach((page) => page.end('leave'));
    await this.#pass(50);
    jest.clearAllTimers();
  }

  #open(): void {
    const replayEvents = this.#replayEvents;
    this.pages.push(new TabPage(this.browser.open(), this.server, { replayEvents }));
  }

  #choose(whom: number | undefined): TabPage | undefined {
    return whom === undefined
      ? this.pages.find(({ tab }) => tab === this.browser.leader)
      : this.pages[whom % Math.max(1, this.pages.length)];
  }

  #remove(page: TabPage | undefined, how: 'leave' | 'crash'): void {
    if (page) {
      this.pages = this.pages.filter((other) => other !== page);
      this.#gone.push(page);
      page.end(page.tab.isHung ? 'crash' : how);
    }
  }

  #show(page: TabPage): void {
    if (this.#hidden.delete(page)) {
      page.tab.show();
    }
  }

  async #pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await settled();
      await jest.advanceTimersByTimeAsync(Math.min(100, left));
    }
    await settled();
  }
}
