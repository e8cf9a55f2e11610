import type { Browser, Page } from 'playwright-core';
import { DEADLINE_MS } from './sample-process.js';

/** A visitor of the sample: a page of its own, and whatever its scripts or its browser complain of. */
export interface Visit {
  readonly page: Page;
  readonly complaints: string[];
  leave(): Promise<void>;
}

export async function visit(browser: Browser): Promise<Visit> {
  const context = await browser.newContext();
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
