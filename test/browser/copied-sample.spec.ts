import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { DEADLINE_MS, npm, ROOT, SampleProcess, until } from './sample-process.js';

// Packing and installing come first.
jest.setTimeout(4 * DEADLINE_MS);

let browser: Browser;
let folder: string;
let copy: string;
let sample: SampleProcess | undefined;

/** What the sample's README tells a reader to do, with the tarball in place of the registry's package. */
beforeAll(async () => {
  browser = await launchChromium();
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-event-stream-copy-'));
  await npm(['pack', '--loglevel=error', '--pack-destination', folder], ROOT);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;

  copy = join(folder, 'my-app');
  cpSync(join(ROOT, 'sample'), copy, {
    recursive: true,
    filter: (path) => !['dist', 'node_modules'].includes(basename(path)),
  });
  // Of everything else the versions that were locked here: not what a registry serves today.
  cpSync(join(ROOT, 'test/browser/copied-sample/package-lock.json'), join(copy, 'package-lock.json'));
  await npm(
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', join(folder, tarball)],
    copy,
  );
});

afterAll(async () => {
  await browser?.close();
  await sample?.stop();
  if (folder !== undefined) {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe('the sample, copied out of the repository and installed', () => {
  it('runs on the packed tarball', () => {
    // Asked of Node itself: within jest, the package's name leads to lib/.
    const script = "console.log(import.meta.resolve('nestjs-event-stream'))";
    const args = ['--input-type=module', '--eval', script];
    const found = execFileSync(process.execPath, args, { cwd: copy, encoding: 'utf8' });

    expect(found).toContain(join(copy, 'node_modules/nestjs-event-stream/dist/esm/index.js'));
  });

  it('streams to a browser, ends on SIGTERM with a stream open, and is found again when it is back', async () => {
    sample = await SampleProcess.startByNpm(copy);
    const page = await browser.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    const rows = page.locator('#events li');
    const opened = rows.filter({ hasText: 'Connected' });

    await page.goto(sample.url);
    await rows.filter({ hasText: '收到第 2 条消息' }).waitFor();
    await page.getByRole('radio', { name: '/sse/use-sse-decorator' }).check();
    await opened.nth(1).waitFor();
    await page.locator('#server-code').getByText('closeOn(req)').waitFor();

    await sample.stop();
    await rows.filter({ hasText: 'Lost or ended' }).first().waitFor();
    expect(sample.output).toContain('use-sse-decorator: the client left');

    sample = await SampleProcess.startByNpm(copy, sample.port);
    await opened.nth(2).waitFor();
    expect(await page.getByRole('status').first().textContent()).toBe('Open');

    await page.close();
    await until('the server has noticed', async () => (await sample!.openStreams()) === 0);
  });

  it('serves the dashboard with what its page imports', async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => complaints.push(message.text()));

    await page.goto(`${sample!.url}/dashboard.html`);
    await page.locator('#events .sample').first().waitFor();
    await page.locator('#chart canvas').waitFor();

    expect(complaints).toEqual([]);
    await page.close();
    await until('the server has noticed', async () => (await sample!.openStreams()) === 0);
  });

  it('says what to do where its port is taken', async () => {
    const second = SampleProcess.startByNpm(copy, sample!.port);

    await expect(second).rejects.toThrow('with the exit code 1');
    await expect(second).rejects.toThrow(`Port ${sample!.port} is taken. Another one: PORT=8080 npm start`);
  });

  it('ends on SIGTERM while a browser holds a spare connection', async () => {
    // Browsers open one more than they need, and send nothing on it until they do.
    const spare = connect(Number(sample!.port), '127.0.0.1');
    await once(spare, 'connect');
    // Accepted by the time that a request which came after it is answered.
    await sample!.openStreams();

    try {
      await sample!.stop();
    } finally {
      spare.destroy();
    }
    expect(sample!.hasEnded).toBe(true);
  });
});
