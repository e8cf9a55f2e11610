/**
 * Runs the suites that suites.json lists, one jest process each, and closes with the line `N passed, N failed`.
 *
 *   node test/suites/run-suites.mjs test              every suite of the group `test`
 *   node test/suites/run-suites.mjs test unit proxies  two of them
 *
 * It fails where jest would not: for a suite with fewer tests than the manifest wants, for one that leaves the
 * process open, and for a spec file that no suite ran. A suite whose needs are not met is skipped and named; with
 * CI=true that is a failure, and so is a test that skips itself.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findSpecs, judge, summarise } from './suite-results.mjs';
import { findNode, installSystemPackages, missingNeeds, prepare, runJest } from './suite-process.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const CI = process.env.CI === 'true';

const manifest = JSON.parse(readFileSync(new URL('suites.json', import.meta.url), 'utf8'));
const [group = 'test', ...names] = process.argv.slice(2);
const suites = manifest[group];
const unknown = names.filter((name) => suites?.[name] === undefined);
if (suites === undefined || unknown.length > 0) {
  const known = suites === undefined ? Object.keys(manifest) : Object.keys(suites);
  console.error(
    `No such ${suites === undefined ? 'group' : 'suite'}: ${unknown.join(', ') || group}. There are: ${known.join(', ')}.`,
  );
  process.exit(2);
}
const chosen = names.length > 0 ? names : Object.keys(suites);

const scratch = mkdtempSync(join(tmpdir(), 'nestjs-event-stream-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(1));
}

installSystemPackages(
  ROOT,
  chosen.flatMap((name) => suites[name].needs ?? []),
);

const results = [];
for (const name of chosen) {
  console.error(`\n=== ${name}`);
  results.push(await runSuite(name, suites[name]));
}
const unrun = names.length === 0 && group === 'test' ? specsNoSuiteRan() : [];

const { text, failed } = summarise(results, unrun);
console.log(text);
process.exitCode = failed > 0 ? 1 : 0;

async function runSuite(name, suite) {
  const started = Date.now();
  const skip = (reason) => ({
    name,
    minimum: suite.tests,
    seconds: 0,
    passed: 0,
    skipped: [reason],
    failures: CI ? [`skipped: ${reason}`] : [],
    files: [],
  });

  const missing = missingNeeds(suite.needs ?? []);
  if (missing.length > 0) {
    return skip(`needs ${missing.join(' and ')}, not found on this machine`);
  }

  const node = suite.node === undefined ? process.execPath : await findNode(ROOT, suite.node);
  if (typeof node !== 'string') {
    return skip(node.unavailable);
  }

  const env = { SUITE_SCRATCH: join(scratch, name) };
  if (suite.prepare !== undefined) {
    const prepared = await prepare(join(ROOT, suite.prepare), env.SUITE_SCRATCH);
    if (prepared.unavailable !== undefined) {
      return skip(prepared.unavailable);
    }
    if (prepared.failure !== undefined) {
      return {
        name,
        minimum: suite.tests,
        seconds: (Date.now() - started) / 1000,
        passed: 0,
        skipped: [],
        failures: [prepared.failure],
        files: [],
      };
    }
  }

  const run = await runJest({ root: ROOT, node, suite, env, report: join(scratch, `${name}.json`) });
  return { ...judge(name, suite, run, { ci: CI, root: ROOT }), seconds: (Date.now() - started) / 1000 };
}

function specsNoSuiteRan() {
  const ran = new Set(results.filter((result) => result.files.length > 0).flatMap((result) => result.files));
  const skipped = results.some((result) => result.files.length === 0);
  return skipped ? [] : findSpecs(ROOT).filter((file) => !ran.has(file));
}
