import { readdirSync, readFileSync } from 'node:fs';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { Random } from '../support/random.js';
import { DEADLINE_MS } from './sample-process.js';
import { PAGES } from './tabs-server.js';
import type { TabsServer } from './tabs-server.js';

interface TabReport {
  readonly faults: string[];
  readonly total: number;
  readonly fromCache: number;
  readonly leads: number;
  readonly reason: string | undefined;
  readonly status: string;
}
interface TabGlobals {
  readonly tab?: { report(): TabReport; takeGapMs(): number; nextEvent(): Promise<void> };
}

const ACTS = ['close', 'crash', 'reload', 'hang', 'back', 'cut', 'restart'] as const;
type Act = (typeof ACTS)[number];
/** The acts after which another tab leads, if they happen to the leader. */
const TAKEOVERS = ['close', 'crash', 'reload', 'hang'] as const;
/** How long a tab hangs that does not lead: no other tab takes its place, so there is no end to wait for. */
const HANG_MS = 1_000;

/** How often something was measured, and what came out, in milliseconds. */
interface Figures {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly most: number;
}

/** Tabs of one Chromium, and what happens to them while a server publishes. */
export class TabsJourney {
  readonly #server: TabsServer;
  readonly #random: Random;
  readonly #context: BrowserContext;
  readonly #pages: Page[] = [];
  #publishing: ReturnType<typeof setInterval> | undefined;
  #opened = 0;
  /** What went wrong in tabs that are gone by now. */
  readonly #faults: string[] = [];
  /** How long no event came to another tab, in milliseconds, by what happened to the leader. */
  readonly gapsMs: Record<(typeof TAKEOVERS)[number], number[]> = {
    close: [],
    crash: [],
    reload: [],
    hang: [],
  };
  readonly done: string[] = [];
  /** How often a page came back with what it had. */
  fromCache = 0;

  private constructor(server: TabsServer, context: BrowserContext, random: Random) {
    this.#server = server;
    this.#context = context;
    this.#random = random;
  }

  static async begin(server: TabsServer, browser: Browser, random: Random): Promise<TabsJourney> {
    const context = await browser.newContext();
    context.setDefaultTimeout(DEADLINE_MS);
    const journey = new TabsJourney(server, context, random);
    for (let n = 0; n < PAGES; n += 5) {
      await Promise.all(Array.from({ length: 5 }, () => journey.#open()));
    }
    return journey;
  }

  /** Publishes all the time from now on. */
  publish(): void {
    this.#publishing ??= setInterval(() => {
      // Where the server restarts the publish fails, and is none.
      this.#server.publish(this.#random.between(0, PAGES - 1)).catch(() => undefined);
    }, 10);
  }

  async end(): Promise<void> {
    clearInterval(this.#publishing);
    await this.#context.close();
  }

  /** One thing happens, most often to the tab that leads. */
  async step(act: Act = this.#random.pick(ACTS)): Promise<void> {
    const leader = await this.#leader();
    const isLeader = this.#random.next() < 0.6;
    const page = isLeader && leader ? leader : this.#random.pick(this.#pages);
    const witness = this.#random.pick(this.#pages.filter((other) => other !== page));
    this.done.push(`${act}${page === leader ? ' of the leader' : ''}`);
    await witness.evaluate(() => (globalThis as TabGlobals).tab?.takeGapMs());
    await this.#do(act, page, page === leader);
    const takeover = page === leader && TAKEOVERS.find((each) => each === act);
    if (takeover) {
      this.gapsMs[takeover].push(await this.#gapMs(witness));
    }
  }

  /** How long it takes another tab to replace a leader: from the last event of the one to the first of the other. */
  takeovers(): Record<'gone' | 'hung', Figures> {
    const { hang, ...gone } = this.gapsMs;
    return { gone: figuresOf(Object.values(gone).flat()), hung: figuresOf(hang) };
  }

  /** Publishes no more, and waits until each tab has everything. @returns what is wrong */
  async settle(): Promise<string[]> {
    clearInterval(this.#publishing);
    this.#publishing = undefined;
    const { total } = this.#server;
    let reports: (TabReport | undefined)[] = [];
    await waitFor(
      async () => {
        reports = await Promise.all(this.#pages.map((page) => this.#report(page)));
        return reports.every((report) => report?.total === total) && this.#server.connections === 1;
      },
      {
        timeoutMs: DEADLINE_MS,
        describe: () =>
          `${total} events over 1 connection, but ${this.#server.connections}: ${JSON.stringify(reports)} after ${this.done.join(', ')}`,
      },
    );
    return [...this.#faults, ...reports.flatMap((report) => report!.faults)];
  }

  async #do(act: Act, page: Page, leads: boolean): Promise<void> {
    switch (act) {
      case 'close':
        await this.#keepFaults(page);
        await this.#replace(page, () => page.close());
        break;
      case 'crash':
        await this.#keepFaults(page);
        await this.#replace(page, () => this.#crash(page));
        break;
      case 'reload':
        await this.#keepFaults(page);
        await page.reload();
        break;
      case 'hang':
        await this.#hang(page, leads);
        break;
      case 'back':
        await page.goto(`${this.#server.base}/elsewhere`);
        // A page from the cache is not loaded again.
        await page.goBack({ waitUntil: 'commit' });
        this.fromCache += (await this.#report(page))?.fromCache ?? 0;
        break;
      case 'cut':
        this.#server.cut();
        break;
      case 'restart':
        await this.#server.restart();
    }
  }

  /** The longest time without an event in a tab, once one has come. */
  async #gapMs(witness: Page): Promise<number> {
    return witness.evaluate(async () => {
      const { tab } = globalThis as TabGlobals;
      await tab!.nextEvent();
      return Math.round(tab!.takeGapMs());
    });
  }

  async #open(): Promise<void> {
    const url = `${this.#server.base}/page/${this.#opened % PAGES}`;
    this.#opened += 1;
    const page = await this.#context.newPage();
    this.#pages.push(page);
    await page.goto(url);
  }

  async #replace(page: Page, remove: () => Promise<unknown>): Promise<void> {
    this.#pages.splice(this.#pages.indexOf(page), 1);
    await remove();
    await this.#open();
  }

  async #crash(page: Page): Promise<void> {
    const pid = await this.#processOf(page);
    const crashed = page.waitForEvent('crash');
    process.kill(pid, 'SIGKILL');
    await crashed;
    await page.close();
  }

  /** Stops the renderer of a page: if it leads, until another tab has taken its place. */
  async #hang(page: Page, leads: boolean): Promise<void> {
    const pid = await this.#processOf(page);
    const others = this.#pages.filter((other) => other !== page);
    process.kill(pid, 'SIGSTOP');
    try {
      await (leads
        ? waitFor(() => this.#leader(others), { timeoutMs: DEADLINE_MS, describe: () => 'another leads' })
        : new Promise((resolve) => setTimeout(resolve, HANG_MS)));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  }

  /** The renderer of a page: the one that has used the most time while the page is busy. */
  async #processOf(page: Page): Promise<number> {
    const before = renderers();
    await page.evaluate(() => {
      const end = performance.now() + 300;
      while (performance.now() < end) {
        Math.random();
      }
    });
    const after = renderers();
    const used = [...after].map(([pid, ticks]) => [pid, ticks - (before.get(pid) ?? ticks)] as const);
    return used.reduce((most, each) => (each[1] > most[1] ? each : most))[0];
  }

  async #leader(pages: readonly Page[] = this.#pages): Promise<Page | undefined> {
    for (const page of pages) {
      if ((await this.#report(page))?.leads) {
        return page;
      }
    }
    return undefined;
  }

  async #keepFaults(page: Page): Promise<void> {
    this.#faults.push(...((await this.#report(page))?.faults ?? []));
  }

  async #report(page: Page): Promise<TabReport | undefined> {
    return page.evaluate(() => (globalThis as TabGlobals).tab?.report());
  }
}

function figuresOf(measured: readonly number[]): Figures {
  const sorted = [...measured].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? NaN;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), most: at(1) };
}

/** The renderers of our own browser by process id, and the time that each has used, in ticks. */
function renderers(): Map<number, number> {
  const found = new Map<number, number>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const isRenderer = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer');
      // Other suites on this machine have browsers too.
      if (isRenderer && isOurs(pid)) {
        const fields = statOf(pid);
        found.set(Number(pid), Number(fields[11]) + Number(fields[12]));
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** The fields of a process after its name: its parent is the second. */
function statOf(pid: string): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
}

/** Whether a process descends from this one. */
function isOurs(pid: string): boolean {
  const parent = statOf(pid)[1]!;
  return parent === String(process.pid) || (parent !== '0' && parent !== '1' && isOurs(parent));
}
