/** Installs the database libraries beside this file, from the lock file there. */
import { fileURLToPath } from 'node:url';
import { npmCi } from '../suites/npm-ci.mjs';

/** @returns {Promise<{ unavailable?: string, failure?: string }>} empty where everything is installed */
export function install() {
  return npmCi(fileURLToPath(new URL('.', import.meta.url)));
}
