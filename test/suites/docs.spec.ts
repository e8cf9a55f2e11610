import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import * as prettier from 'prettier';
import {
  brokenLinks,
  compileBlocks,
  differingCode,
  publishedFiles,
  tooLong,
  unformattedBlocks,
} from './docs.mjs';

const repository = fileURLToPath(new URL('../../', import.meta.url));
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

  it('lead from a guide to what is in the package', () => {
    write('lib/guide.md', '# Guide');
    const file = write('published.md', '[in](lib/guide.md) [self](#here)', '[out](lib/README.md)', '# Here');
    expect(brokenLinks(root, file, ['lib/guide.md', file])).toEqual([
      'published.md:2: lib/README.md is not in the package',
    ]);
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

describe('the README', () => {
  it('has a limit of lines and of bytes, and the message says both', () => {
    write('README.md', '# Title', 'äöü');
    expect(tooLong(root, 'README.md', { lines: 2, bytes: 14 })).toEqual([]);
    expect(tooLong(root, 'README.md', { lines: 1, bytes: 14 })[0]).toMatch(
      /2 lines and 14 bytes; at most 1 and 14/,
    );
    expect(tooLong(root, 'README.md', { lines: 2, bytes: 13 })[0]).toMatch(
      /2 lines and 14 bytes; at most 2 and 13/,
    );
  });

  it('has the same code in another language, but for comments', () => {
    const code = (comment: string, call: string) => ['```ts', `${call}(); // ${comment}`, '```'];
    write('one.md', ...code('the first', 'f'), ...code('second', 'g'));
    write('same.md', ...code('第一', 'f'), ...code('第二', 'g'));
    write('other.md', ...code('第一', 'f'), ...code('第二', 'h'));
    write('less.md', ...code('第一', 'f'));
    expect(differingCode(root, 'one.md', 'same.md')).toEqual([]);
    expect(differingCode(root, 'one.md', 'other.md')).toEqual([
      'other.md:5: the code differs from that of one.md',
    ]);
    expect(differingCode(root, 'one.md', 'less.md')).toEqual(['less.md has 1 ts blocks, and one.md 2.']);
  });

  it('is the first of what is published, with the guides that package.json names', () => {
    write('package.json', '{ "files": ["dist", "CHANGELOG.md", "lib/guide.md"] }');
    expect(publishedFiles(root)).toEqual(['README.md', 'lib/guide.md']);
  });
});

describe('the code of a Markdown file', () => {
  it('is written as prettier writes code', async () => {
    copyFileSync(join(repository, '.prettierrc'), join(root, '.prettierrc'));
    const block = ['```ts', "const a = 'a';", '```', '```sh', 'npm   ci', '```', '```js', 'f( 1 )', '```'];
    expect(await unformattedBlocks(root, write('format.md', ...block))).toEqual([
      'format.md:8: prettier writes this block as\nf(1);\n',
    ]);
  });
});

describe('a table in Markdown', () => {
  it.each(['README.md', 'sample/README.md'])('is not padded by prettier: %s', async (file) => {
    const options = await prettier.resolveConfig(join(repository, file));
    const table = '| a | bbbbbb |\n| --- | --- |\n| cccc | d |\n';
    expect(await prettier.format(table, { ...options, parser: 'markdown' })).toBe(table);
  });
});
