import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where install-apps.mjs has put the apps. */
export const SCRATCH = process.env['SUITE_SCRATCH']!;

const fixtures = readdirSync(new URL('apps', import.meta.url));

/** The fixtures in apps/, `nest-11.1.18` and so on. */
export const NEST_VERSIONS = fixtures.filter((name) => name.startsWith('nest-'));

/** Those of pages, `react-18` and so on. */
export const REACT_VERSIONS = fixtures.filter((name) => name.startsWith('react-'));

export const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
