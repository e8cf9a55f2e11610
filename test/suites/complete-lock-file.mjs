/**
 * Updates a lock file, and has npm resolve again what it has left incomplete.
 *
 *   node test/suites/complete-lock-file.mjs                  package-lock.json
 *   node test/suites/complete-lock-file.mjs test/some-folder
 *
 * An optional dependency that npm could not fetch, a native build for another platform on a partial mirror, is left
 * out of the lock file, and `npm ci` then refuses the file (npm/cli#9846). npm never completes an entry without an
 * integrity hash, so `npm ci` would install whatever is served there. Both fail here, by name.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './npm-ci.mjs';
import { incompleteEntries } from './lock-file.mjs';

const [folder = '.'] = process.argv.slice(2);
const path = join(folder, 'package-lock.json');
const read = () => JSON.parse(readFileSync(path, 'utf8'));

const lock = read();
const { unverified } = incompleteEntries(lock);
for (const place of unverified) {
  delete lock.packages[place];
}
if (unverified.length > 0) {
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
}

const args = ['install', '--package-lock-only', '--no-audit', '--no-fund', '--loglevel=error'];
const { code, output } = await run('npm', args, folder);
if (code !== 0) {
  throw new Error(`npm install exited with ${code}:\n${output}`);
}

const left = incompleteEntries(read());
for (const place of left.unverified) {
  console.error(`${path}: ${place} has no integrity`);
}
for (const name of left.missing) {
  console.error(`${path}: ${name} is missing: this registry does not serve it`);
}
console.log(`${path}: ${unverified.length} entries resolved again`);
process.exitCode = left.unverified.length + left.missing.length > 0 ? 1 : 0;
