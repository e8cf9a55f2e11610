/** Installs the database libraries beside this file, from the lock files there. */
import { fileURLToPath } from 'node:url';
import { npmCi } from '../suites/npm-ci.mjs';

/** MikroORM 7 wants another `@mikro-orm/core` at the place of that of MikroORM 6. */
const FOLDERS = ['.', './mikro-orm-7'];

/** @returns {Promise<{ unavailable?: string, failure?: string }>} empty where everything is installed */
export async function install() {
  const results = await Promise.all(
    FOLDERS.map((folder) => npmCi(fileURLToPath(new URL(folder, import.meta.url)))),
  );
  return results.find(({ unavailable, failure }) => unavailable ?? failure) ?? {};
}
