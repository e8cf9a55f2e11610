import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Opens pages in the tabs of a headless Firefox without a driver: they run by themselves, and report by requests. */
export function openFirefox(...urls: string[]): { close(): Promise<void> } {
  const profile = mkdtempSync(join(tmpdir(), 'firefox-'));
  // It talks to the page alone.
  const preferences = {
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
    'app.update.enabled': false,
    'services.settings.server': 'http://127.0.0.1:1/',
  };
  const lines = Object.entries(preferences).map(
    ([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`,
  );
  writeFileSync(join(profile, 'user.js'), lines.join('\n'));
  const firefox = spawn(
    process.env['FIREFOX'] ?? 'firefox-esr',
    ['--headless', '--no-remote', '--profile', profile, ...urls],
    { stdio: 'ignore' },
  );
  const ended = once(firefox, 'close');
  // A machine without one fails by the deadline of what is awaited; this error would end the process.
  ended.catch(() => undefined);
  return {
    async close() {
      firefox.kill();
      await ended.catch(() => undefined);
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
