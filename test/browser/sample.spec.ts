import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createParser } from 'eventsource-parser';
import type { Browser, Locator, Page } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { DEADLINE_MS, SAMPLE, SampleProcess, until } from './sample-process.js';
import { leavePage, visit, type Visit } from './visit.js';

jest.setTimeout(2 * DEADLINE_MS);

const GET_STYLE = '/sse/use-get-decorator';
const SSE_STYLE = '/sse/use-sse-decorator';
const TEN = Array.from({ length: 10 }, (_, index) => `收到第 ${index + 1} 条消息`);

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

afterEach(async () => {
  await leavePage(visitor);
  await until('the server has let go of every stream', async () => (await sample.openStreams()) === 0);
});

const row = (kind: string): Locator =>
  page.locator('#events li').filter({ has: page.locator(`strong:text-is("${kind}")`) });
const messages = (): Promise<string[]> => row('message').locator('span').allTextContents();
const button = (name: string): Locator => page.getByRole('button', { name });
const choose = (path: string): Promise<void> => page.getByRole('radio', { name: path }).check();

describe('the endpoint with @Get() and @Res()', () => {
  it('shows ten messages one by one, then the end, and does not come back for ever', async () => {
    const statuses: number[] = [];
    page.on('response', (response) => {
      if (new URL(response.url()).pathname === GET_STYLE) {
        statuses.push(response.status());
      }
    });

    await page.goto(sample.url);
    await row('message').first().waitFor();
    expect((await messages()).length).toBeLessThan(10);
    await row('error').nth(1).waitFor();

    expect(await messages()).toEqual(TEN);
    expect(await row('error').locator('code').allTextContents()).toEqual(['0 CONNECTING', '2 CLOSED']);
    expect(await page.getByRole('status').first().textContent()).toBe('Closed by the server');
    expect(statuses).toEqual([200, 204]);
    expect(complaints).toEqual([]);
  });

  it('goes on after a dropped connection where it stood', async () => {
    await page.goto(sample.url);
    await row('message').nth(1).waitFor();
    await button('Drop the network').click();
    await row('error').waitFor();
    await row('open').nth(1).waitFor();
    await until('three more messages are there', async () => (await messages()).length >= 5);

    const seen = await messages();
    expect(seen).toEqual(TEN.slice(0, seen.length));
    expect(await row('error').locator('code').allTextContents()).toEqual(['0 CONNECTING']);
    // Chromium's own report of the cut.
    expect(complaints).toEqual([expect.stringContaining('ERR_INCOMPLETE_CHUNKED_ENCODING')]);
  });

  it('sends each message as JSON with its number as the id', async () => {
    const answer = await fetch(sample.url + GET_STYLE, { headers: { 'Last-Event-ID': '8' } });
    const events: unknown[] = [];
    createParser({ onEvent: ({ id, event, data }) => events.push({ id, event, data }) }).feed(
      await answer.text(),
    );

    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(events).toEqual([
      { id: '9', event: undefined, data: '{"message":"收到第 9 条消息"}' },
      { id: '10', event: undefined, data: '{"message":"收到第 10 条消息"}' },
    ]);
  });

  it('begins anew for a Last-Event-ID that is none of its own', async () => {
    const answer = await fetch(sample.url + GET_STYLE, { headers: { 'Last-Event-ID': 'something else' } });
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('\n\n')) {
      text += (await reader.read()).value ?? '';
    }
    await reader.cancel();

    expect(text).toContain('data: {"message":"收到第 1 条消息"}\nid: 1\n\n');
  });
});

describe('the endpoint with @Sse()', () => {
  it('goes on until the client leaves, and the server says so', async () => {
    await page.goto(sample.url);
    await row('open').waitFor();
    await choose(SSE_STYLE);
    await until(
      'three of its messages are there',
      async () => (await messages()).slice(-3).join() === TEN.slice(0, 3).join(),
    );

    const before = sample.output.length;
    await button('Disconnect').click();
    await sample.waitFor(/use-sse-decorator: the client left/, before);

    expect(await sample.openStreams()).toBe(0);
    await page.getByText('The server holds 0 streams for this page').waitFor();
    expect(await row('page').last().textContent()).toContain('2 CLOSEDsource.close()');
    expect(await page.getByRole('status').first().textContent()).toBe('Closed by this page');
    expect(complaints).toEqual([]);
  });

  it('begins anew on Reconnect', async () => {
    await page.goto(sample.url);
    await choose(SSE_STYLE);
    await row('open').last().waitFor();
    await button('Disconnect').click();
    await page.getByText('Closed by this page').waitFor();
    const opened = await row('open').count();
    const arrived = await row('message').count();

    await button('Reconnect').click();
    await row('open').nth(opened).waitFor();
    await row('message').nth(arrived).waitFor();

    expect((await messages())[arrived]).toBe(TEN[0]);
    await page.getByText('The server holds 1 stream for this page').waitFor();
    expect(complaints).toEqual([]);
  });

  it('is opened again by the browser after a dropped connection', async () => {
    await page.goto(sample.url);
    await choose(SSE_STYLE);
    await until('it is open', async () => (await messages()).at(-1) === TEN[1]);
    const opened = await row('open').count();
    const before = sample.output.length;

    await button('Drop the network').click();
    await row('error').waitFor();
    await sample.waitFor(/use-sse-decorator: the client left/, before);
    await row('open').nth(opened).waitFor();

    expect(await row('error').locator('code').allTextContents()).toEqual(['0 CONNECTING']);
  });
});

describe('the page', () => {
  it.each([GET_STYLE, SSE_STYLE])('shows the code of %s as it stands in the controller', async (path) => {
    const name = path.slice('/sse/'.length);
    const source = readFileSync(join(SAMPLE, 'sse/sse.controller.ts'), 'utf8');
    const [, region] = new RegExp(`// #region ${name}\n(.*?)^ *// #endregion`, 'ms').exec(source)!;

    await page.goto(sample.url);
    await choose(path);
    const code = page.getByRole('region', { name: 'The endpoint’s code' });
    await code.getByText(`'${name}'`, { exact: true }).waitFor();

    expect(await code.textContent()).toBe(region!.replaceAll(/^ {2}/gm, ''));
  });

  it('closes its stream when one leaves it, and opens one when one comes back', async () => {
    await page.goto(sample.url);
    await row('open').waitFor();
    expect(await sample.openStreams()).toBe(1);

    await page.goto('about:blank');
    await until('the server has noticed', async () => (await sample.openStreams()) === 0);
    await page.goBack();
    await page.getByText('The server holds 1 stream for this page').waitFor();

    expect(complaints).toEqual([]);
  });

  it('keeps no more than the last 200 rows', async () => {
    const body = Array.from({ length: 500 }, (_, n) => `data: {"message":"number ${n + 1}"}\n\n`).join('');
    await page.route('**/sse/**', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    await page.goto(sample.url);
    await row('error').last().waitFor();

    expect(await page.locator('#events li').count()).toBe(200);
    expect((await messages()).at(-1)).toBe('number 500');
  });

  it.each([1_280, 320])('clips no line of its code in a window of %i px', async (width) => {
    await page.setViewportSize({ width, height: 720 });
    await page.goto(sample.url);
    await page.locator('#server-code span').first().waitFor();

    const isClipped =
      'Array.from(document.querySelectorAll("pre"), (pre) => pre.scrollWidth > pre.clientWidth)';
    expect(await page.evaluate(isClipped)).toEqual([false, false]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
  });

  it('shows a message as text, whatever it holds', async () => {
    const message = '<img src=x onerror=alert(1)>';
    const body = `data: ${JSON.stringify({ message })}\n\n`;
    await page.route('**/sse/**', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    await page.goto(sample.url);
    await row('message').first().waitFor();

    expect((await messages())[0]).toBe(message);
    expect(await page.locator('img').count()).toBe(0);
  });

  it('tells a failure that the server reports from a connection that is lost', async () => {
    const body = 'event: error\ndata: Internal server error\n\n';
    await page.route('**/sse/**', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    await page.goto(sample.url);
    await row('error').nth(1).waitFor();

    expect((await row('error').allTextContents()).slice(0, 2)).toEqual([
      expect.stringContaining('1 OPENInternal server error'),
      expect.stringContaining('0 CONNECTINGLost or ended'),
    ]);
  });

  it('can be used with the keyboard alone', async () => {
    await page.goto(sample.url);
    await row('open').waitFor();
    const focused = () =>
      page.evaluate<string>('document.activeElement.value || document.activeElement.textContent');

    for (const name of ['Two styles', 'Dashboard', 'Chat', 'Tabs', 'use-get-decorator']) {
      await page.keyboard.press('Tab');
      expect(await focused()).toBe(name);
    }
    await page.keyboard.press('ArrowDown');
    expect(await focused()).toBe('use-sse-decorator');
    await row('open').nth(1).waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Disconnect');
    await page.keyboard.press('Enter');
    await page.getByText('Closed by this page').waitFor();

    expect(await focused()).toBe('Disconnect');
    expect(await button('Disconnect').getAttribute('aria-disabled')).toBe('true');
  });

  it('fits windows of a phone and of a desk', async () => {
    await page.goto(sample.url);
    await row('message').first().waitFor();

    for (const width of [320, 768, 1024, 1440]) {
      await page.setViewportSize({ width, height: 800 });
      expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBe(width);
    }
  });
});
