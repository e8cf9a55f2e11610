import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import { brokenLinks, compileBlocks } from './docs.mjs';

const root = mkdtempSync(join(tmpdir(), 'docs-spec-'));
symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(root, 'node_modules'));
mkdirSync(join(root, 'lib'));
afterAll(() => rmSync(root, { recursive: true }));

function write(file: string, ...lines: string[]): string {
  writeFileSync(join(root, file), lines.join('\n'));
  return file;
}

describe('the TypeScript of a Markdown file', () => {
  it('is compiled, and an error carries the line of the Markdown file', async () => {
    const file = write(
      'types.md',
      '# Title',
      '```ts',
      "import { of } from 'rxjs';",
      'export const n: number = of(1);',
      '```',
      '',
      '```sh',
      'npm ci',
      '```',
    );
    const { compiled, errors } = await compileBlocks(root, [file]);
    expect(compiled).toBe(1);
    expect(errors.join('\n')).toMatch(/^types\.md:4:14: error TS2322/);
  });

  it('may lean on a comment right above it, and on no other', async () => {
    const preamble = ['<!-- ts', 'declare const orders: { total: number };', '-->', ''];
    const block = ['```ts', 'orders.total satisfies number;', '```'];
    expect(await compileBlocks(root, [write('with.md', ...preamble, ...block)])).toEqual({
      compiled: 1,
      errors: [],
    });

    const { errors } = await compileBlocks(root, [
      write('apart.md', ...preamble, 'Some prose.', '', ...block),
    ]);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^apart\.md:8:1: error TS2304: Cannot find name 'orders'/);
  });
});

describe('the links of a Markdown file', () => {
  it('lead to files and headings that exist', () => {
    write(
      'lib/README.md',
      '# The map',
      '## `closeOn(req)`, in short',
      '## Twice',
      '## Twice',
      '```sh',
      '# no heading',
      '```',
    );
    const file = write(
      'links.md',
      '[map](lib/README.md) [heading](lib/README.md#closeonreq-in-short) [second](lib/README.md#twice-1) [folder](lib)',
      '[away](https://nestjs.com/) [self](#here) `[code](nowhere.md)`',
      '# Here',
    );
    expect(brokenLinks(root, file)).toEqual([]);
  });

  it('are named with their line where they lead nowhere', () => {
    const file = write(
      'dead.md',
      '# Dead',
      '',
      '[gone](gone.md), [no such](lib/README.md#no-heading)',
      '[up](../up.md)',
      '',
      '[ref]: lost.png',
    );
    expect(brokenLinks(root, file).sort()).toEqual([
      'dead.md:3: gone.md leads to nothing',
      'dead.md:3: lib/README.md#no-heading: no heading makes this anchor',
      'dead.md:4: ../up.md leads to nothing',
      'dead.md:6: lost.png leads to nothing',
    ]);
  });
});
