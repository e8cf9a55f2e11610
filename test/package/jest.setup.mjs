import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { install } from './install-apps.mjs';

/** `npm test` has installed the apps by now; a bare `npm run jest -- --selectProjects package` has not. */
export default async function setup() {
  if (process.env.SUITE_SCRATCH !== undefined) {
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'nestjs-event-stream-package-'));
  process.env.SUITE_SCRATCH = globalThis.packageScratch = folder;
  const { unavailable, failure } = await install(folder);
  if (unavailable ?? failure) {
    throw new Error(unavailable ?? failure);
  }
}
