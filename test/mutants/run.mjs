/**
 * Takes out one check at a time, in a copy of the tree, and expects the test that names it to fail.
 *
 *     npm run mutants
 *     npm run mutants -- nonce     those whose name has the word
 */
import { execFile } from 'node:child_process';
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

// Most of a test's time is waiting: a mutant is killed by what never comes. Each lane has a copy of the tree, in which
// it changes one file at a time.
const LANES = 8;
// A test that fails and leaves something open keeps its process from ending.
const LONGEST_MS = 240_000;
const copies = Array.from({ length: LANES }, () => mkdtempSync(join(tmpdir(), 'mutants-')));
process.on('exit', () => copies.forEach((copy) => rmSync(copy, { recursive: true, force: true })));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(1));
}

copies.forEach(copyTree);
// A test that fails without the mutant as well kills nothing.
const files = [...new Set(chosen.map(({ test }) => test))];
const unmutated = new Map();
const waiting = [...chosen];
const killed = (await Promise.all(copies.map(runLane))).flat().filter(Boolean).length;
console.log(`${killed} passed, ${chosen.length - killed} failed`);
process.exitCode = killed === chosen.length ? 0 : 1;

/** First the tests that mutants name, once on the tree as it is, by file; then the mutants. */
async function runLane(copy) {
  for (let file = files.shift(); file; file = files.shift()) {
    const named = chosen.filter(({ test }) => test === file);
    unmutated.set(file, runTests(copy, file, named));
    await unmutated.get(file);
  }
  const verdicts = [];
  for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
    verdicts.push(await isKilled(copy, mutant));
  }
  return verdicts;
}

function copyTree(copy) {
  for (const part of ['lib', 'test', 'package.json', 'tsconfig.build.json']) {
    cpSync(join(root, part), join(copy, part), {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    });
  }
  symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'));
}

async function isKilled(copy, mutant) {
  // Another lane may still be at it.
  const unmutatedRun = await unmutated.get(mutant.test);
  if (unmutatedRun.statusOf(mutant) !== 'passed') {
    return report(mutant, `its test "${mutant.title}" does not pass without it`, unmutatedRun.output);
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
  const mutatedRun = await runTests(copy, mutant.test, [mutant]);
  writeFileSync(path, source);
  return mutatedRun.statusOf(mutant) === 'failed'
    ? report(mutant)
    : report(mutant, `its test "${mutant.title}" does not fail`, mutatedRun.output);
}

function report({ name }, why, output) {
  console.log(why === undefined ? `killed ${name}` : `LIVES  ${name}: ${why}.\n${output}`);
  return why === undefined;
}

function projectOf(file) {
  if (file.startsWith('lib/')) {
    return 'unit';
  }
  return file.startsWith('test/engines/') ? 'engines' : 'nest12';
}

async function runTests(copy, file, wanted) {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const args = ['--experimental-vm-modules', '--no-warnings', jest, '--config', 'test/jest.config.mjs'];
  const titles = wanted.map(({ title }) => title.replace(/[^\w ]/g, '\\$&'));
  const options = [
    '--selectProjects',
    projectOf(file),
    '--runInBand',
    '--json',
    '-t',
    `(${titles.join('|')})$`,
  ];
  const { stdout, stderr } = await new Promise((resolve) => {
    const command = [...args, ...options, file];
    // Tests that fail make it fail, which is what most runs are for.
    const limits = { maxBuffer: Infinity, timeout: LONGEST_MS, killSignal: 'SIGKILL' };
    execFile(process.execPath, command, { cwd: copy, ...limits }, (error, stdout, stderr) =>
      resolve(error?.killed ? { stdout: '', stderr: `${stderr}\nIt did not end.` } : { stdout, stderr }),
    );
  });
  const start = stdout.indexOf('{"');
  const tests = start === -1 ? [] : JSON.parse(stdout.slice(start)).testResults;
  return {
    output: stderr.slice(-2_000),
    /** Of a test that stands in a table, in all of its rows; undefined where no test has the title. */
    statusOf({ title }) {
      const own = tests
        .flatMap(({ assertionResults }) => assertionResults)
        .filter((result) => result.title === title);
      if (own.length === 0) {
        return undefined;
      }
      return own.every(({ status }) => status === 'passed') ? 'passed' : 'failed';
    },
  };
}
