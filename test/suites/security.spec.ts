import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const model = readFileSync(join(ROOT, '.github/SECURITY.md'), 'utf8');

/** The rows that name tests: what is tried, what happens, the tests. */
const rows = Array.from(
  model.slice(model.indexOf('### ')).matchAll(/^\| (?!what is tried|---)([^|]+) \| [^|]+ \| (.*) \|$/gm),
  ([, tried, tests]) => ({
    tried: tried!,
    tests: Array.from(tests!.matchAll(/`(\S+\.spec\.ts)`: (.+?)(?=<br>|$)/g), ([, file, title]) => ({
      title: title!,
      file: join(ROOT, file!),
    })),
  }),
);

describe('the threat model', () => {
  it('has a line for each thing that is tried', () => {
    expect(rows.length).toBeGreaterThan(20);
  });

  it.each(rows)('names tests that are there: $tried', ({ tests }) => {
    expect(tests.length).toBeGreaterThan(0);
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
