import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findBlocks } from './docs.mjs';

/** The README's one code block of a language: what is printed is what is tested. */
export function readmeBlock(language: string): string {
  const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
  const blocks = findBlocks(readme).filter((block) => block.language === language);
  if (blocks.length !== 1) {
    throw new Error(`README.md has ${blocks.length} code blocks of ${language}, and one is expected.`);
  }
  return blocks[0]!.code;
}

/** The README's one code block that holds a text. */
export function readmeExample(text: string): string {
  return blockWith(text).code;
}

/** The same as a whole module: with the declarations that the reader does not see. */
export function readmeModule(text: string): string {
  const { preamble, code } = blockWith(text);
  return `${preamble?.code ?? ''}\n${code}\n`;
}

function blockWith(text: string): ReturnType<typeof findBlocks>[number] {
  const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
  const blocks = findBlocks(readme).filter(({ code }) => code.includes(text));
  if (blocks.length !== 1) {
    throw new Error(`README.md has ${blocks.length} code blocks with ${text}, and one is expected.`);
  }
  return blocks[0]!;
}

/** The README's TypeScript examples: the line on which each stands, and its code with what it needs before it. */
export function readmeExamples(): { line: number; code: string }[] {
  const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
  return findBlocks(readme)
    .filter(({ language }) => language === 'ts')
    .map(({ line, code, preamble }) => ({ line, code: `${preamble?.code ?? ''}\n${code}` }));
}

/** Replaces a text that stands there once: a configuration that has changed fails here, by name. */
export function replaceOnce(text: string, from: string, to: string): string {
  const parts = text.split(from);
  if (parts.length !== 2) {
    throw new Error(`${JSON.stringify(from)} stands ${parts.length - 1} times in:\n${text}`);
  }
  return parts.join(to);
}
