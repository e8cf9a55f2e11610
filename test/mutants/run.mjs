/**
 * Takes out one check at a time, in a copy of the tree, and expects the test that names it to fail.
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
  process.exit(2);
}

const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

copyTree();
// A test that fails without the mutant as well kills nothing.
const unmutated = runTests(chosen);
const survivors = chosen.filter((mutant) => !isKilled(mutant));
console.log(`${chosen.length - survivors.length} passed, ${survivors.length} failed`);
process.exitCode = survivors.length === 0 ? 0 : 1;

function copyTree() {
  for (const part of ['lib', 'test', 'package.json', 'tsconfig.build.json']) {
    cpSync(join(root, part), join(copy, part), {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    });
  }
  symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'));
}

function isKilled(mutant) {
  if (unmutated.statusOf(mutant) !== 'passed') {
    return report(mutant, `its test "${mutant.title}" does not pass without it`, unmutated.output);
  }
  const path = join(copy, mutant.file);
  const source = readFileSync(path, 'utf8');
  const times = source.split(mutant.find).length - 1;
  if (times !== 1) {
    return report(mutant, `${mutant.file} has ${times} times, not once`, mutant.find);
  }
  writeFileSync(
    path,
    source.replace(mutant.find, () => mutant.replace),
  );
  const mutatedRun = runTests([mutant]);
  writeFileSync(path, source);
  return mutatedRun.statusOf(mutant) === 'failed'
    ? report(mutant)
    : report(mutant, `its test "${mutant.title}" does not fail`, mutatedRun.output);
}

function report({ name }, why, output) {
  console.log(why === undefined ? `killed ${name}` : `LIVES  ${name}: ${why}.\n${output}`);
  return why === undefined;
}

function runTests(wanted) {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const args = ['--experimental-vm-modules', '--no-warnings', jest, '--config', 'test/jest.config.mjs'];
  const titles = wanted.map(({ title }) => title.replace(/[^\w ]/g, '\\$&'));
  const options = [
    '--selectProjects',
    'unit',
    'engines',
    '--runInBand',
    '--json',
    '-t',
    `(${titles.join('|')})$`,
  ];
  const files = [...new Set(wanted.map(({ test }) => test))];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, ...options, ...files], {
    cwd: copy,
    encoding: 'utf8',
  });
  const start = stdout.indexOf('{"');
  const tests = start === -1 ? [] : JSON.parse(stdout.slice(start)).testResults;
  return {
    output: stderr.slice(-2_000),
    /** Of a test that stands in a table, in all of its rows; undefined where no test has the title. */
    statusOf({ test, title }) {
      const own = tests
        .filter(({ name }) => name.endsWith(test))
        .flatMap(({ assertionResults }) => assertionResults)
        .filter((result) => result.title === title);
      if (own.length === 0) return undefined;
      return own.every(({ status }) => status === 'passed') ? 'passed' : 'failed';
    },
  };
}
