/** `npm run docs`: the code of the guides compiles against the built package, their links lead somewhere, and the README is short. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  brokenLinks,
  compileBlocks,
  differingCode,
  markdownFiles,
  publishedFiles,
  tooLong,
  unformattedBlocks,
} from './docs.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const PREAMBLE =
  'Each ts block is compiled as a module of its own. What it needs and the reader does not goes into a comment right above it: <!-- ts, the declarations, and --> on lines of their own.';

const files = markdownFiles(ROOT);
const guides = publishedFiles(ROOT);
const errors = guides.filter((guide) => !files.includes(guide)).map((guide) => `${guide}: there is none`);
const present = guides.filter((guide) => files.includes(guide));
const linkable = [...present, 'CHANGELOG.md', 'LICENSE', 'package.json'];

for (const file of files) {
  errors.push(...brokenLinks(ROOT, file, present.includes(file) ? linkable : undefined));
}
for (const readme of ['README.md', 'README_zh-CN.md']) {
  errors.push(...tooLong(ROOT, readme));
}
errors.push(...differingCode(ROOT, 'README.md', 'README_zh-CN.md'));
for (const guide of present) {
  errors.push(...(await unformattedBlocks(ROOT, guide)));
}

const { compiled, errors: compileErrors } = await compileBlocks(ROOT, present);
errors.push(...compileErrors);
if (compileErrors.length > 0) {
  errors.push(PREAMBLE);
}

for (const error of errors) {
  console.error(error);
}
console.log(
  `docs: ${files.length} Markdown files, ${compiled} ts blocks of ${present.length} guides compiled, ${errors.length} errors`,
);
process.exitCode = errors.length > 0 ? 1 : 0;
