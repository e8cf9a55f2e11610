/** `npm run docs`: the README's TypeScript compiles against the built package, and no Markdown has a dead relative link. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brokenLinks, compileBlocks } from './docs.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(ROOT, file)));

const errors = files.flatMap((file) => brokenLinks(ROOT, file));
if (!files.includes('README.md')) errors.push('README.md: there is none');
const { compiled, errors: compileErrors } = files.includes('README.md')
  ? await compileBlocks(ROOT, 'README.md')
  : { compiled: 0, errors: [] };
errors.push(...compileErrors);
if (compileErrors.length > 0)
  errors.push(
    'Each ts block is compiled as a module of its own. What it needs and the reader does not goes into a comment right above it: <!-- ts, the declarations, and --> on lines of their own.',
  );

for (const error of errors) console.error(error);
console.log(
  `docs: ${files.length} Markdown files, ${compiled} ts blocks of README.md compiled, ${errors.length} errors`,
);
process.exitCode = errors.length > 0 ? 1 : 0;
