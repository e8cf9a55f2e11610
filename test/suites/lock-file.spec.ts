import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { incompleteEntries } from './lock-file.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const lockFiles = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*package-lock.json'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .trim()
  .split('\n');

describe('every lock file', () => {
  it('is found', () => {
    expect(lockFiles).toContain('package-lock.json');
  });

  it.each(lockFiles)('has an integrity hash for each package that is fetched: %s', (file) => {
    const lock: unknown = JSON.parse(readFileSync(join(ROOT, file), 'utf8'));

    expect(incompleteEntries(lock)).toEqual({ unverified: [], missing: [] });
  });
});

describe('incompleteEntries', () => {
  it('names a package without an integrity hash, and not what lies in the repository', () => {
    const packages = {
      '': {},
      sample: {},
      'node_modules/sample': { link: true },
      'node_modules/bundled': { inBundle: true },
      'node_modules/good': { integrity: 'sha512-a' },
      'node_modules/good/node_modules/bad': {},
    };

    expect(incompleteEntries({ packages })).toEqual({
      unverified: ['node_modules/good/node_modules/bad'],
      missing: [],
    });
  });

  it('names an optional dependency without an entry, wherever npm would have put it', () => {
    const packages = {
      '': {},
      'node_modules/a': { integrity: 'sha512-a', optionalDependencies: { b: '1', c: '1', d: '1' } },
      'node_modules/a/node_modules/b': { integrity: 'sha512-b' },
      'node_modules/c': { integrity: 'sha512-c' },
    };

    expect(incompleteEntries({ packages })).toEqual({ unverified: [], missing: ['d'] });
  });
});
