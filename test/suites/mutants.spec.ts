import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { mutants } from '../mutants/mutants.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

// The mutants themselves take minutes. That a line or a title has moved is known at once.
describe('the mutants', () => {
  it('stand each exactly once in its file', () => {
    const moved = mutants.filter(({ file, find }) => read(file).split(find).length !== 2);
    expect(moved).toEqual([]);
  });

  it('name tests that are there', () => {
    expect(mutants.filter(({ test, title }) => !hasTest(test, title))).toEqual([]);
  });
});

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** Whether a spec, or what it imports of the tests, has a test with a title. */
function hasTest(file: string, title: string): boolean {
  const source = read(file);
  if (titles(source).some((pattern) => pattern.test(title))) {
    return true;
  }
  const imported = Array.from(source.matchAll(/ from '(\.[^']*)\.js'/g), ([, path]) =>
    join(dirname(file), `${path!}.ts`),
  );
  return imported.some(
    (path) => path.startsWith('test/') && existsSync(join(ROOT, path)) && hasTest(path, title),
  );
}

/** The first arguments of calls, if they are text; what a table or a template puts into one may be anything. */
function titles(source: string): RegExp[] {
  const literals = source.matchAll(/\(\s*(?:'((?:[^'\\\n]|\\.)+)'|"([^"\n]+)"|`([^`\n]+)`)/g);
  return Array.from(literals, ([, single, double, template]) => {
    const title = single?.replaceAll(/\\(.)/g, '$1') ?? double ?? template!;
    const parts = title.split(/\$\{[^}]+\}|\$\w+|%\w/);
    return new RegExp(`^${parts.map((part) => part.replaceAll(/[^\w ]/g, String.raw`\$&`)).join('.+')}$`);
  });
}
