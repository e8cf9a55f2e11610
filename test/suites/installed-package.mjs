/** The package as an app finds it, for processes of their own: tests of a process's end or memory, and benchmarks. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformFileSync } from '@swc/core';
import { SWC_OPTIONS } from '../support/apps/swc-options.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The folders that hold a Nest major's `@nestjs`. */
export const NEST = {
  11: join(ROOT, 'test/nest11/node_modules'),
  12: join(ROOT, 'node_modules'),
};

/**
 * Builds lib/ and lays it out beside a major of Nest, in a folder of its own with compiled TypeScript files.
 *
 * @param {{ major: 11 | 12, sources: string[] }} options - `sources` are paths; each is compiled to `<name>.js`
 * @returns {{ folder: string, remove: () => void }}
 */
export function installPackage({ major, sources }) {
  const folder = mkdtempSync(join(tmpdir(), `nestjs-event-stream-nest${major}-`));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const modules = join(folder, 'node_modules');
    build(join(modules, 'nestjs-event-stream'));
    // Links: Node goes by the real path, and so Nest finds its own dependencies, and everybody the same rxjs.
    symlinkSync(join(NEST[major], '@nestjs'), join(modules, '@nestjs'));
    for (const name of ['rxjs', 'reflect-metadata']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
    for (const source of sources) {
      const { code } = transformFileSync(source, SWC_OPTIONS);
      writeFileSync(join(folder, basename(source).replace(/\.ts$/, '.js')), besideEachOther(code));
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { folder, remove };
}

/** Files of several folders stand in one: what they import of each other stands beside them. */
function besideEachOther(code) {
  return code.replace(/(from\s+["'])\.{1,2}\/(?:[\w.-]+\/)*([\w.-]+\.js["'])/g, '$1./$2');
}

/** As `npm run build` does for its ESM half, which is what Node takes for `import` and `require` alike. */
function build(folder) {
  mkdirSync(folder, { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  const esm = join(folder, 'dist/esm');
  const options = [
    '-p',
    'tsconfig.build.json',
    '--module',
    'es2022',
    '--moduleResolution',
    'bundler',
    '--outDir',
    esm,
  ];
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, ...options], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  if (status !== 0) {
    throw new Error(`lib/ cannot be built:\n${stdout}${stderr}`);
  }
  writeFileSync(join(esm, 'package.json'), JSON.stringify({ type: 'module' }));
}
