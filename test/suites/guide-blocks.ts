import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findBlocks, publishedFiles } from './docs.mjs';

type Block = ReturnType<typeof findBlocks>[number] & { file: string };

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The code blocks of the README and of all guides. */
function allBlocks(): Block[] {
  return publishedFiles(ROOT).flatMap((file) =>
    findBlocks(readFileSync(join(ROOT, file), 'utf8')).map((block) => ({ ...block, file })),
  );
}

function theOne(blocks: Block[], what: string): Block {
  if (blocks.length !== 1) {
    const places = blocks.map(({ file, line }) => `${file}:${line}`).join(', ');
    throw new Error(`The guides have ${blocks.length} code blocks ${what} (${places}), and one is expected.`);
  }
  return blocks[0]!;
}

/** The one code block of a language in the guides: what is printed is what is tested. */
export function guideBlock(language: string): string {
  return theOne(
    allBlocks().filter((block) => block.language === language),
    `of ${language}`,
  ).code;
}

/** The one code block in the guides that holds a text. */
export function guideExample(text: string): string {
  return blockWith(text).code;
}

/** The same as a whole module: with the declarations that the reader does not see. */
export function guideModule(text: string): string {
  const { preamble, code } = blockWith(text);
  return `${preamble?.code ?? ''}\n${code}\n`;
}

function blockWith(text: string): Block {
  return theOne(
    allBlocks().filter(({ code }) => code.includes(text)),
    `with ${text}`,
  );
}

/** The TypeScript examples of the guides: where each stands, and its code with what it needs before it. */
export function guideExamples(): { place: string; code: string }[] {
  return allBlocks()
    .filter(({ language }) => language === 'ts')
    .map(({ file, line, code, preamble }) => ({
      place: `${file}:${line}`,
      code: `${preamble?.code ?? ''}\n${code}`,
    }));
}

/** Replaces a text that stands there once: a configuration that has changed fails here, by name. */
export function replaceOnce(text: string, from: string, to: string): string {
  const parts = text.split(from);
  if (parts.length !== 2) {
    throw new Error(`${JSON.stringify(from)} stands ${parts.length - 1} times in:\n${text}`);
  }
  return parts.join(to);
}
