import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { DEADLINE_MS, SampleProcess, until } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

let sample: SampleProcess;
let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
  sample = await SampleProcess.start();
});
afterAll(async () => {
  await browser?.close();
  await sample?.stop();
});

const textOf = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent())!;
const received = async (page: Page) => Number(await textOf(page, 'received'));

it('the page of the tabs has one stream for five of them, also after the one that holds it is closed', async () => {
  const { page: first, complaints, leave } = await visit(browser);
  const tabs = [first];
  await first.goto(`${sample.url}/tabs.html`);
  while (tabs.length < 5) {
    const opened = first.context().waitForEvent('page');
    await first.getByRole('button', { name: 'Open another tab' }).click();
    tabs.push(await opened);
  }
  const all = async (isTrue: (page: Page) => Promise<boolean>) =>
    (await Promise.all(tabs.map(isTrue))).every(Boolean);
  const haveOneStream = () =>
    all(async (page) => (await received(page)) > 2 && (await textOf(page, 'streams')) === '1');
  await until('five share one stream', haveOneStream);
  expect(await sample.openStreams()).toBe(1);
  expect(await textOf(first, 'tabs')).toBe('5');
  expect(await textOf(first, 'role')).toContain('Leads');

  await first.close();
  tabs.shift();
  const before = await received(tabs[0]!);
  await until('four go on', async () => (await received(tabs[0]!)) > before + 4 && (await haveOneStream()));
  const roles = await Promise.all(tabs.map((page) => textOf(page, 'role')));
  expect(roles.filter((role) => role.includes('Leads'))).toHaveLength(1);

  // By a button of a tab that follows.
  const follower = tabs[roles.findIndex((role) => role === 'Follows')]!;
  const leader = tabs[roles.findIndex((role) => role.includes('Leads'))]!;
  const closed = leader.waitForEvent('close');
  await follower.getByRole('button', { name: 'Close the tab that leads' }).click();
  await closed;
  tabs.splice(tabs.indexOf(leader), 1);
  const then = await received(follower);
  await until('three go on', async () => (await received(follower)) > then + 4 && (await haveOneStream()));

  for (const page of tabs) {
    expect([await textOf(page, 'missing'), await textOf(page, 'twice')]).toEqual(['0', '0']);
  }
  await follower.getByRole('region', { name: 'The browser’s code' }).getByText('shareTabs').waitFor();
  await follower.getByRole('region', { name: 'The server’s code' }).getByText('connection.follow').waitFor();
  for (const width of [320, 768, 1440]) {
    await follower.setViewportSize({ width, height: 800 });
    expect(await follower.evaluate<number>('document.documentElement.scrollWidth')).toBe(width);
  }
  expect(complaints).toEqual([]);
  await leave();
});
