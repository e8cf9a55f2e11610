import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Browser, Locator, Page } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { DEADLINE_MS, SampleProcess, until } from './sample-process.js';
import { leavePage, visit, type Visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

/** A row of the stream's log that shows a sample. */
interface Sample {
  n: number;
  id: string;
  state: 'live' | 'replayed';
}

let sample: SampleProcess;
let browser: Browser;
let visitor: Visit;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  browser = await launchChromium();
  sample = await SampleProcess.start();
  visitor = await visit(browser);
  ({ page, complaints } = visitor);
});

afterAll(async () => {
  await browser?.close();
  await sample?.stop();
});

beforeEach(async () => {
  await page.goto(`${sample.url}/dashboard.html`);
  await row('open').waitFor();
});

afterEach(async () => {
  await leavePage(visitor);
  await until('the server has let go of every stream', async () => (await sample.openStreams()) === 0);
});

const button = (name: string): Locator => page.getByRole('button', { name });
const tile = (name: string): Locator => page.locator('label').filter({ hasText: name }).locator('strong');
const row = (kind: string): Locator => page.locator(`#events li.${kind}`);
const numberIn = async (place: Locator): Promise<number> => parseFloat((await place.textContent()) ?? '');
const cell = (client: 'fast' | 'slow', row: string): Locator =>
  page
    .getByRole('row', { name: row })
    .getByRole('cell')
    .nth(client === 'fast' ? 0 : 1);

/** All samples that have arrived, in the order in which they have. */
async function samples(state?: Sample['state']): Promise<Sample[]> {
  const rows = await page.evaluate<string[][]>(
    `[...document.querySelectorAll('#events li.sample')].map((row) =>
      ['span', 'small', 'code'].map((part) => row.querySelector(part).textContent))`,
  );
  const all = rows.map(([text, id, state]) => ({ n: parseInt(text!, 10), id, state }) as Sample);
  return state === undefined ? all : all.filter((one) => one.state === state);
}

/** The last sample, once one has come live. */
async function lastLive(): Promise<Sample> {
  await until('one has come live', async () => (await samples('live')).length > 0);
  return (await samples()).at(-1)!;
}

/** Whether none is missing, none came twice, and their places in the log rise as well. */
function expectContiguous(seen: readonly Sample[]): void {
  expect(seen.map(({ n }) => n)).toEqual(seen.map((_, index) => seen[0]!.n + index));
  const places = seen.map(({ id }) => Number(id.split('-')[1]));
  expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
}

/** How many pixels of the chart, or of its right part, have the colour of the live line, or of the replayed one. */
function pixels(color: '--accent' | '--wait', part = 1): Promise<number> {
  return page.evaluate<number>(`(() => {
    const canvas = document.querySelector('#chart canvas');
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(Math.floor(width * (1 - ${part})), 0, width, height);
    const hex = getComputedStyle(document.documentElement).getPropertyValue('${color}');
    const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (wanted.every((part, index) => Math.abs(data[at + index] - part) < 8)) count += 1;
    }
    return count;
  })()`);
}

describe('the numbers of the process', () => {
  it('move, and are drawn', async () => {
    await lastLive();
    const first = await page.locator('.tiles strong').allTextContents();
    expect(first.every((text) => /\d/.test(text))).toBe(true);
    await until(
      'they have changed',
      async () => (await page.locator('.tiles strong').allTextContents()).join() !== first.join(),
    );
    await until('the chart has a line', async () => (await pixels('--accent')) > 20);

    expect(await tile('Open streams').textContent()).toBe('1');
    expect(await numberIn(tile('Memory'))).toBeGreaterThan(10);
    expectContiguous(await samples());
    expect(await page.locator('#points').textContent()).toContain(' 0 missing');
    expect(complaints).toEqual([]);
  });

  it('of the last minute are there at once, out of the log, before anything live', async () => {
    await lastLive();
    await page.reload();
    await lastLive();

    const seen = await samples();
    const replayed = await samples('replayed');
    expect(replayed.length).toBeGreaterThan(0);
    expect(seen.slice(0, replayed.length)).toEqual(replayed);
    expectContiguous(seen);
  });

  it('tell what compression saves, once the page has the events that those after them refer to', async () => {
    await until('more is saved', async () => (await numberIn(tile('Saved by gzip'))) > 0);
    expect(complaints).toEqual([]);
  });

  it('can be chosen for the chart with the keyboard alone', async () => {
    const caption = page.locator('#caption');
    await page.getByRole('link').last().focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowRight');

    await caption.getByText('Memory of the process').waitFor();
    expect(await page.getByRole('radio', { name: 'Memory' }).isChecked()).toBe(true);
  });
});

describe('a network that is down for ten seconds', () => {
  async function firstBytesFor(client: string): Promise<string | undefined> {
    const { body } = await fetch(`${sample.url}/dashboard/events?client=${client}`);
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return value;
  }

  it('loses nothing to its client: the points that were missed arrive before anything live', async () => {
    const resumed: Promise<string | null>[] = [];
    page.on('response', (response) => {
      if (!response.url().includes('/dashboard/events')) {
        return;
      }
      resumed.push(response.request().headerValue('Last-Event-ID'));
    });

    await lastLive();
    await button('Drop the network').click();
    await row('error').first().waitFor();
    const before = await samples();
    expect(await firstBytesFor('another')).toContain('retry: 1000');
    await row('open').nth(1).waitFor();
    await until('it has gone on', async () => (await samples('live')).at(-1)!.n > before.at(-1)!.n + 20);

    const seen = await samples();
    expectContiguous(seen);
    const after = seen.filter(({ n }) => n > before.at(-1)!.n);
    const live = after.findIndex(({ state }) => state === 'live');
    // Twice a second for ten seconds; a machine that is busy measures less often.
    expect(live).toBeGreaterThanOrEqual(10);
    expect(after.slice(0, live).every(({ state }) => state === 'replayed')).toBe(true);
    expect(after.slice(live).every(({ state }) => state === 'live')).toBe(true);
    expect(await page.locator('#points').textContent()).toContain(' 0 missing');
    // Of a minute, what was missed lies in the last quarter.
    await until('they are drawn', async () => (await pixels('--wait', 0.25)) > 20);

    expect(await row('reset').count()).toBe(0);
    expect(await row('error').count()).toBeGreaterThan(1);
    expect(await Promise.all(resumed)).toEqual([before.at(-1)!.id]);
    // Chromium's own report of the resets.
    expect(new Set(complaints)).toEqual(new Set([expect.stringContaining('ERR_CONNECTION_RESET')]));
  });
});

describe('a slow client beside a fast one', () => {
  /** Starts both, and stops one of them from reading, until its socket on the server takes no more. */
  async function stall(): Promise<void> {
    await button('Start two clients').click();
    await until('both read', async () => (await numberIn(cell('slow', 'Has read'))) > 0);
    await button('Stop reading').click();
    let looks = 0;
    await until('the server has noticed', async () => {
      // For some time: a client that is merely busy makes it wait for a moment, too.
      looks = (await numberIn(tile('Waiting'))) > 0 ? looks + 1 : 0;
      return looks >= 30;
    });
  }

  it('falls behind without a loss, delays nobody, and is whole again when it reads on', async () => {
    await stall();
    const stoppedAt = await numberIn(cell('slow', 'Has read'));
    const fastAt = await numberIn(cell('fast', 'Has read'));
    await until('the fast one has gone on', async () => {
      return (await numberIn(cell('fast', 'Has read'))) > fastAt + 100;
    });
    expect(await numberIn(cell('slow', 'Has read'))).toBe(stoppedAt);
    const behind = await numberIn(cell('slow', 'Behind'));
    expect(behind).toBeGreaterThan(500);
    // Eight thousand bytes each; what the server keeps of them is what a socket takes.
    expect(await numberIn(tile('Waiting'))).toBeLessThan(behind);

    await button('Read on').click();
    await until('it has caught up', async () => (await numberIn(cell('slow', 'Behind'))) < 50);

    expect(await numberIn(cell('slow', 'Has read'))).toBeGreaterThan(stoppedAt + behind);
    expect(await cell('slow', 'Missing').textContent()).toBe('0');
    expect(await cell('fast', 'Missing').textContent()).toBe('0');
    expectContiguous(await samples());

    await button('Stop both clients').click();
    await until('the dashboard alone is left', async () => (await sample.openStreams()) === 1);
    expect(complaints).toEqual([]);
  });

  it('may want the newest alone, and leaves out the rest', async () => {
    await page.getByRole('checkbox', { name: 'The newest only' }).check();
    await stall();
    const behind = await numberIn(cell('slow', 'Behind'));
    await until('more has come', async () => (await numberIn(cell('slow', 'Behind'))) > behind + 200);

    await button('Read on').click();
    await until('it has caught up', async () => (await numberIn(cell('slow', 'Behind'))) < 50);

    expect(await numberIn(cell('slow', 'Missing'))).toBeGreaterThan(100);
    expect(await cell('fast', 'Missing').textContent()).toBe('0');
    expect(complaints).toEqual([]);
  });
});

describe('the page', () => {
  it('is linked with the other one, both ways', async () => {
    await page.getByRole('link', { name: 'Two styles' }).click();
    await page.getByRole('heading', { name: 'The stream' }).waitFor();
    await page.getByRole('link', { name: 'Dashboard' }).click();
    await row('open').waitFor();

    expect(complaints).toEqual([]);
  });

  it('goes on where it was when the back button brings it back', async () => {
    await lastLive();
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))");
    await until('it has no stream', async () => (await sample.openStreams()) === 0);
    const { n } = (await samples()).at(-1)!;
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))");
    await until('it has gone on', async () => (await samples('live')).at(-1)!.n > n + 1);

    expectContiguous(await samples());
    expect(await row('reset').count()).toBe(0);
  });

  it('shows the code as it runs', async () => {
    const code = (name: string): Locator => page.getByRole('region', { name });

    await code('The code that publishes').getByText("metrics.of(instance ?? 'process')").waitFor();
    await code('The code of /dashboard/events').getByText('agoMs').waitFor();
    await code('The browser’s code').getByText('onReset').waitFor();
    await code('The endpoint’s code').getByText('runFor').waitFor();
    await code('The client’s code').getByText('sse.follow').waitFor();
    expect(await page.locator('pre').getByText('cannot be reached').count()).toBe(0);
  });

  it('fits windows of a phone and of a desk, with all numbers that it has', async () => {
    await button('Start two clients').click();
    await until('both read', async () => (await numberIn(cell('slow', 'Has read'))) > 0);

    for (const width of [320, 768, 1024, 1440]) {
      await page.setViewportSize({ width, height: 800 });
      expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBe(width);
    }
  });

  it('is drawn anew where the system turns dark', async () => {
    await until('it is drawn', async () => (await pixels('--accent')) > 20);
    await page.emulateMedia({ colorScheme: 'dark' });

    await until('it is drawn in the other colour', async () => (await pixels('--accent')) > 20);
  });
});

describe('the server', () => {
  it('ends on SIGTERM with all streams open, and says after a restart that its log is another', async () => {
    await button('Start two clients').click();
    await until('both read', async () => (await numberIn(cell('slow', 'Has read'))) > 0);

    const [epoch] = (await lastLive()).id.split('-');
    const samplesOfNextLog = async (): Promise<Sample[]> =>
      (await samples()).filter(({ id }) => !id.startsWith(`${epoch}-`));
    await sample.stop();
    expect(sample.output).not.toMatch(/ERROR|WARN/);
    await row('error').first().waitFor();
    sample = await SampleProcess.start({ PORT: sample.port });
    await row('reset').waitFor();
    await until('it has gone on', async () => (await samplesOfNextLog()).length > 2);

    expect(await row('reset').textContent()).toContain('(epoch)');
    expectContiguous(await samplesOfNextLog());
    await until('the clients were told, too', async () => {
      const cells = [cell('fast', 'Missing'), cell('slow', 'Missing')];
      const texts = await Promise.all(cells.map((one) => one.textContent()));
      return texts.every((text) => text === 'Unknown: epoch');
    });
  });
});
