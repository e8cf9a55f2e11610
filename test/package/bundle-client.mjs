/** Bundles what a page loads to follow and to run, for the size budget: `.tmp/client.js`. */
import { build } from 'esbuild';

await build({
  stdin: { contents: "export { SseClient } from './dist/esm/client/index.js';", resolveDir: process.cwd() },
  outfile: '.tmp/client.js',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
});
