import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const model = readFileSync(join(ROOT, '.github/SECURITY.md'), 'utf8');

const tables = model.slice(model.indexOf('### '));
/** The rows that name tests: what is tried, what happens, the tests. */
const rows = Array.from(
  tables.matchAll(/^\| (?!what is tried|---)([^|]+) \| [^|]+ \| (.*) \|$/gm),
  ([, tried, tests]) => ({
    tried: tried!,
    named: tests!.split('<br>').length,
    tests: Array.from(tests!.matchAll(/`(\S+\.spec\.ts)`: (.+?)(?=<br>|$)/g), ([, file, title]) => ({
      title: title!,
      file: join(ROOT, file!),
    })),
  }),
);

describe('the threat model', () => {
  it('has no row that this suite cannot read', () => {
    expect(rows.length).toBeGreaterThan(20);
    expect(rows).toHaveLength(tables.match(/^\| (?!what is tried|---)/gm)!.length);
  });

  it.each(rows)('names tests that are there: $tried', ({ tests, named }) => {
    expect(tests).toHaveLength(named);
    const missing = tests.filter(
      ({ file, title }) => !existsSync(file) || !hasTest(readFileSync(file, 'utf8'), title),
    );
    expect(missing).toEqual([]);
  });
});

/** Whether a file has a test, or a group of them, with a title. */
function hasTest(source: string, title: string): boolean {
  const quoted = [`'${title.replaceAll("'", String.raw`\'`)}'`, `"${title}"`, `\`${title}\``];
  return quoted.some((text) => source.includes(text));
}
