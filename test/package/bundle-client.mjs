/**
 * Bundles what a page loads to follow and to run, for the size budget: `.tmp/client.js`, and
 * `.tmp/client.sharing.js`, what pages with `shareTabs` load beside it.
 */
import { rename } from 'node:fs/promises';
import { build } from 'esbuild';

const OUT = '.tmp/client-bundle';
const options = {
  stdin: { contents: "export { SseClient } from './dist/esm/client/index.js';", resolveDir: process.cwd() },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
};
await build({ ...options, outfile: '.tmp/client.js', external: ['./sharing/index.js'] });
const { metafile } = await build({ ...options, outdir: OUT, splitting: true, metafile: true });
const [sharing] = Object.entries(metafile.outputs).find(([, { entryPoint }]) =>
  entryPoint?.includes('/sharing/'),
);
await rename(sharing, '.tmp/client.sharing.js');
