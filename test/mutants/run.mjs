/**
 * Takes out one check at a time, in a copy of the tree, and expects its test to fail.
 *
 *     npm run mutants
 *     npm run mutants -- nonce     those whose name has the word
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mutants } from './mutants.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const word = process.argv[2] ?? '';
const chosen = mutants.filter(({ name }) => name.includes(word));
if (chosen.length === 0) {
  console.error(
    `No mutant has "${word}" in its name. They are: ${mutants.map(({ name }) => name).join('; ')}.`,
  );
  process.exit(1);
}

const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
try {
  const survivors = chosen.filter((mutant) => !isKilled(mutant));
  console.log(`${chosen.length - survivors.length} passed, ${survivors.length} failed`);
  process.exitCode = survivors.length === 0 ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}

function isKilled(mutant) {
  for (const part of ['lib', 'test', 'package.json', 'tsconfig.build.json']) {
    rmSync(join(copy, part), { recursive: true, force: true });
    cpSync(join(root, part), join(copy, part), {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    });
  }
  rmSync(join(copy, 'node_modules'), { force: true });
  symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'));
  const before = runTest(mutant);
  if (before.passed !== 1 || before.failed !== 0) {
    console.log(
      `LIVES  ${mutant.name}: its test "${mutant.title}" does not pass without it.\n${before.output}`,
    );
    return false;
  }
  mutate(mutant);
  const after = runTest(mutant);
  const killed = after.failed === 1;
  console.log(`${killed ? 'killed' : 'LIVES '} ${mutant.name}${killed ? '' : `\n${after.output}`}`);
  return killed;
}

function mutate({ file, find, replace, also = [] }) {
  const path = join(copy, file);
  let source = readFileSync(path, 'utf8');
  for (const [from, to] of [[find, replace], ...also]) {
    if (source.split(from).length !== 2) {
      throw new Error(`${file} has ${source.split(from).length - 1} times, not once: ${from}`);
    }
    source = source.replace(from, () => to);
  }
  writeFileSync(path, source);
}

function runTest({ test, title }) {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const args = ['--experimental-vm-modules', '--no-warnings', jest, '--config', 'test/jest.config.mjs'];
  const options = ['--selectProjects', 'unit', '--testPathPatterns', test, '-t', title, '--json', '--silent'];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, ...options], {
    cwd: copy,
    encoding: 'utf8',
  });
  const start = stdout.indexOf('{"');
  const result = start === -1 ? undefined : JSON.parse(stdout.slice(start));
  return {
    passed: result?.numPassedTests ?? 0,
    failed: result?.numFailedTests ?? 0,
    output: stderr.slice(-2_000),
  };
}
