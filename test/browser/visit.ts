import type { Browser, Page } from 'playwright-core';
import { DEADLINE_MS } from './sample-process.js';

/** A visitor of the sample: a page of its own, and whatever its scripts or its browser complain of. */
export interface Visit {
  readonly page: Page;
  readonly complaints: string[];
  leave(): Promise<void>;
}

/** The window of a page that nothing has changed. */
const WINDOW = { width: 1_280, height: 720 };

/** Leaves what a test has made of a page, for the next one. A page of its own would cost a process. */
export async function leavePage({ page, complaints }: Visit): Promise<void> {
  await page.unrouteAll();
  await page.goto('about:blank');
  await page.setViewportSize(WINDOW);
  await page.emulateMedia({ colorScheme: null });
  page.removeAllListeners('response');
  complaints.length = 0;
}

export async function visit(browser: Browser): Promise<Visit> {
  const context = await browser.newContext({ viewport: WINDOW });
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      complaints.push(message.text());
    }
  });
  return { page, complaints, leave: () => context.close() };
}
