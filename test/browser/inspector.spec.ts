import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Browser, Locator, Page } from 'playwright-core';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { launchChromium } from '../support/clients/chromium.js';
import { Crowd } from '../support/clients/crowd.js';
import { DEADLINE_MS, until } from './sample-process.js';
import { visit } from './visit.js';
import type { Visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

/** `INSPECTOR_CONNECTIONS=10000` for the size that the page is made for. */
const CONNECTIONS = Number(process.env['INSPECTOR_CONNECTIONS'] ?? 120);
const MARKUP = '<img src=x onerror="document.title=1">';
// Fifty rows have two buttons each.
const MAX_TABS = 200;

let app: AppProcess;
let crowd: Crowd;
let browser: Browser;
let visitor: Visit;
let page: Page;
beforeAll(async () => {
  app = await AppProcess.startBuilt(fileURLToPath(new URL('inspector.app.mjs', import.meta.url)));
  const paths = Array.from({ length: CONNECTIONS }, (_, n) => {
    const query = new URLSearchParams({
      topic: `orders.${n % 30}`,
      user: n === 0 ? MARKUP : `user-${n % 40}`,
    });
    return `/follow?${query.toString()}`;
  });
  crowd = await Crowd.open(app.base, false, paths);
  browser = await launchChromium();
});
afterAll(async () => {
  await browser?.close();
  crowd?.leave();
  await endProcesses();
});

const summary = (): Locator => page.locator('#summary');
const rows = (): Locator => page.locator('#rows tbody tr');
const said = (): Locator => page.locator('#said');

/** Goes on by the Tab key until an element has the focus. */
async function tabTo(target: Locator): Promise<void> {
  const focused = target.and(page.locator(':focus'));
  for (let tabs = 0; tabs < MAX_TABS; tabs += 1) {
    if ((await focused.count()) > 0) {
      return;
    }
    await page.keyboard.press('Tab');
  }
  throw new Error(`${String(target)} cannot be reached by the Tab key.`);
}

async function press(target: Locator, key = 'Enter'): Promise<void> {
  await tabTo(target);
  await page.keyboard.press(key);
}

const untilText = (place: Locator, text: string | RegExp): Promise<void> =>
  until(`it says ${String(text)}`, async () => {
    const found = (await place.textContent()) ?? '';
    return typeof text === 'string' ? found === text : text.test(found);
  });
const link = (name: string): Locator => page.getByRole('link', { name });
const button = (name: string | RegExp): Locator => page.getByRole('button', { name, exact: true }).first();

describe('the inspector in Chromium, by keyboard alone,', () => {
  beforeAll(async () => {
    visitor = await visit(browser);
    ({ page } = visitor);
    await page.goto(`${app.base}/internal/sse`);
    await untilText(page.locator('#status'), 'Live');
  });
  afterAll(async () => {
    expect(visitor.complaints).toEqual([]);
    expect(await page.title()).toBe('Event streams');
    await visitor.leave();
  });
  beforeEach(() => page.evaluate('document.activeElement.blur()'));

  it('shows the instance, light and dark', async () => {
    await untilText(page.locator('#totals'), /^1 instance, [\d,]+ connections, 0 runs$/);
    expect(await page.locator('#instances [data-label="Log"]').textContent()).toBe('ready');
    const grounds: string[] = [];
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      grounds.push(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'));
    }
    expect(grounds).toEqual(['rgb(246, 247, 249)', 'rgb(20, 23, 28)']);
  });

  it('finds one of all connections, and shows a key as the text that it is', async () => {
    await press(link('Connections'));
    await untilText(summary(), /^1 to 50 of /);
    await tabTo(page.getByLabel('Filter'));
    await page.keyboard.type('<img');
    await untilText(summary(), '1 to 1 of 1');
    expect(await rows().locator('[data-label="Keys"]').textContent()).toBe(MARKUP);
    await page.keyboard.press('Control+A');
    await page.keyboard.press('Delete');
    await untilText(summary(), /^1 to 50 of /);
    await press(page.locator('#next'));
    await untilText(summary(), /^51 to 100 of /);
    await press(page.locator('#previous'));
    await untilText(summary(), /^1 to 50 of /);
  });

  it('keeps the focus while rows change, and closes the connection that was meant', async () => {
    await press(link('Connections'));
    await tabTo(page.getByLabel('Filter'));
    await page.keyboard.type('orders.');
    // Without the page's own streams, which come and go.
    await untilText(summary(), `1 to 50 of ${CONNECTIONS.toLocaleString('en')}`);
    await tabTo(rows().nth(1).getByRole('button').first());
    await page.keyboard.press('ArrowDown');
    const name = () => page.evaluate<string>(`document.activeElement.getAttribute('aria-label')`);
    const chosen = await name();
    const age = () => page.evaluate<string>(`document.activeElement.closest('tr').cells[5].textContent`);
    const before = await age();
    await until('rows have changed', async () => (await age()) !== before);
    expect(await name()).toBe(chosen);

    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    expect(await said().textContent()).toBe('');
    expect(await name()).toBe(chosen);
    await page.keyboard.press('Enter');
    await press(page.locator('#yes'));
    await untilText(said(), new RegExp(`^The connection ${chosen.split(' ')[2]!.slice(0, 8)} is closed\\.$`));
    await until('one has lost its stream', async () => crowd.members.some(({ isClosed }) => isClosed));
  });

  it('follows a topic, publishes to it, and revokes a key', async () => {
    const user = 'user-5';
    await press(link('Events'));
    await press(page.locator('#follow').getByRole('button', { name: 'Follow' }));
    await untilText(page.locator('#following'), 'Follows >: 0 shown');
    await tabTo(page.locator('#publish').getByLabel('Topic'));
    await page.keyboard.type('orders.5');
    await tabTo(page.locator('#publish').getByLabel('Data, as JSON or text'));
    await page.keyboard.type('<b>bold</b>');
    await press(button('Publish'));
    await untilText(said(), 'Published to orders.5.');
    await untilText(page.locator('#tailed pre'), '<b>bold</b>');
    await press(page.locator('#stop'));

    await press(link('Keys'));
    await tabTo(page.getByLabel('Filter'));
    await page.keyboard.type(user);
    await untilText(summary(), '1 of 1');
    await press(rows().getByRole('button', { name: `Revoke: ${user}` }));
    await untilText(page.locator('#question'), `Revoke the key ${user} for a day?`);
    await press(page.locator('#yes'));
    await untilText(said(), `The key ${user} is revoked.`);
    await untilText(summary(), 'There are none.');
  });
});
