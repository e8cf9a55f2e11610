import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where install-apps.mjs has put the apps. */
export const SCRATCH = process.env['SUITE_SCRATCH']!;

/** The fixtures in apps/, `nest-11.1.18` and so on. */
export const NEST_VERSIONS = readdirSync(new URL('apps', import.meta.url)).filter((name) =>
  name.startsWith('nest-'),
);

export const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
