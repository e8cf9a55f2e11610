/**
 * Builds an app in TypeScript, with the sources of this package, for processes that jest does not run. It prints the path
 * of a script that Node runs as it stands. To translate each source at each start would take longer than the start itself.
 *
 *     node --experimental-import-meta-resolve build-app.mjs <script> <path of @nestjs/core>
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transform } from '@swc/core';
import { build } from 'esbuild';
import { SWC_OPTIONS } from './swc-options.mjs';

const [script, nestCore] = process.argv.slice(2);
const nestModules = resolve(nestCore, '../../..');
const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = join(root, '.tmp/apps');
const ENGINES = ['redis', 'nats', 'postgres'];

const { outputFiles, metafile } = await build({
  entryPoints: [script],
  bundle: true,
  // What an app imports later is loaded later: a tracer patches Nest before that.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  keepNames: true,
  // An ES module has none, and esbuild would give it one.
  define: { require: 'undefined' },
  outdir: folder,
  // Two processes that build the same write the same.
  outExtension: { '.js': '.mjs' },
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  plugins: [{ name: 'app', setup: addSources }],
  write: false,
  metafile: true,
  absWorkingDir: root,
});
await mkdir(folder, { recursive: true });
await Promise.all(outputFiles.map(({ path, text }) => save(path, text)));
const [entry] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint !== undefined);
console.log(join(root, entry));

function addSources({ onResolve, onLoad }) {
  onResolve({ filter: /./ }, ({ path, importer, kind }) =>
    kind === 'entry-point' ? { path } : resolveImport(path, pathToFileURL(importer)),
  );
  onLoad({ filter: /\.ts$/ }, async ({ path }) => ({ contents: await translate(path), loader: 'js' }));
}

function resolveImport(specifier, importer) {
  const [packageName, entry] = specifier.split('/');
  if (packageName === 'nestjs-event-stream') {
    return { path: join(root, 'lib', ENGINES.includes(entry) ? 'engines' : '', entry ?? '', 'index.ts') };
  }
  if (specifier.startsWith('.')) {
    const source = fileURLToPath(new URL(specifier.replace(/\.js$/, '.ts'), importer));
    return existsSync(source)
      ? { path: source }
      : { path: new URL(specifier, importer).href, external: true };
  }
  // Nest is of the major of this process. Packages that run on both stand beside Nest 12.
  const parent = isOfNest(specifier) ? pathToFileURL(nestCore) : importer;
  return { path: import.meta.resolve(specifier, parent.href), external: true };
}

function isOfNest(specifier) {
  const [scope, name] = specifier.split('/');
  return scope === '@nestjs' && existsSync(join(nestModules, scope, name));
}

async function translate(path) {
  const { code } = await transform(await readFile(path, 'utf8'), { ...SWC_OPTIONS, filename: path });
  return code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href));
}

async function save(path, text) {
  if (existsSync(path)) {
    return;
  }
  const unfinished = `${path}.${process.pid}`;
  await writeFile(unfinished, text);
  await rename(unfinished, path);
}
