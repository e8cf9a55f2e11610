/**
 * Bundles what a page loads to follow and to run, for the size budget: `.tmp/client.js`, and
 * `.tmp/client.sharing.js`, what pages with `shareTabs` load beside it; `.tmp/react.js`, `.tmp/ai-sdk.js` and
 * `.tmp/ag-ui.js`.
 */
import { rename } from 'node:fs/promises';
import { build } from 'esbuild';

const OUT = '.tmp/client-bundle';
const optionsOf = (name, entry) => ({
  stdin: { contents: `export { ${name} } from './dist/esm/${entry}/index.js';`, resolveDir: process.cwd() },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
});
const options = optionsOf('SseClient', 'client');
await build({ ...options, outfile: '.tmp/client.js', external: ['./sharing/index.js'] });
const { metafile } = await build({ ...options, outdir: OUT, splitting: true, metafile: true });
const [sharing] = Object.entries(metafile.outputs).find(([, { entryPoint }]) =>
  entryPoint?.includes('/sharing/'),
);
await rename(sharing, '.tmp/client.sharing.js');

await build({ ...optionsOf('RunChatTransport', 'ai-sdk'), outfile: '.tmp/ai-sdk.js' });
// A page that uses the agent has its package already.
await build({ ...optionsOf('RunHttpAgent', 'ag-ui'), outfile: '.tmp/ag-ui.js', external: ['@ag-ui/client'] });
// The page makes the client itself.
await build({
  ...optionsOf('SseProvider, useFollow, useRun', 'react'),
  outfile: '.tmp/react.js',
  external: ['react'],
});
