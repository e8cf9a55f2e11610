/**
 * What can be checked of Markdown: that its code compiles and is formatted, and that its relative links lead somewhere.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import * as prettier from 'prettier';
import { run } from './npm-ci.mjs';

const COMPILER_OPTIONS = {
  target: 'es2022',
  lib: ['es2023', 'dom'],
  module: 'nodenext',
  jsx: 'react-jsx',
  types: ['node'],
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: true,
  noEmit: true,
};

/**
 * The code blocks of a Markdown text, each with the line on which it starts (from 1) and its language. An HTML comment
 * `<!-- ts … -->` right above a block belongs to it: declarations that the reader need not see.
 */
export function findBlocks(markdown) {
  const lines = markdown.split('\n');
  const blocks = [];
  let preamble;
  for (let i = 0; i < lines.length; i += 1) {
    const text = lines[i].trim();
    if (text === '<!-- ts') {
      const end = lines.findIndex((line, at) => at > i && line.trim() === '-->');
      if (end === -1) {
        throw new Error(`Line ${i + 1}: the comment "<!-- ts" is never closed.`);
      }
      preamble = { line: i + 2, code: lines.slice(i + 1, end).join('\n') };
      i = end;
      continue;
    }
    const fence = /^(`{3,}|~{3,})\s*(\S*)/.exec(text);
    if (fence !== null) {
      const end = lines.findIndex((line, at) => at > i && line.trim() === fence[1]);
      if (end === -1) {
        throw new Error(`Line ${i + 1}: the code block is never closed.`);
      }
      blocks.push({
        language: fence[2],
        line: i + 2,
        end,
        code: lines.slice(i + 1, end).join('\n'),
        preamble,
      });
      i = end;
    }
    if (text !== '') {
      preamble = undefined;
    }
  }
  return blocks;
}

/** The Markdown files of the repository, those that are not committed yet as well. */
export function markdownFiles(root) {
  return execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.md'], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((file) => file !== '' && existsSync(join(root, file)));
}

/** The Markdown files that are published: the README and the guides, whose links must hold in `node_modules`. */
export function publishedFiles(root) {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return ['README.md', ...files.filter((file) => file.endsWith('.md') && file !== 'CHANGELOG.md')];
}

/** @returns {string[]} what is too long: the registry keeps 64 KB of its page, and a reader less than that */
export function tooLong(root, file, { lines = 260, bytes = 16 * 1024 } = {}) {
  const text = readFileSync(join(root, file), 'utf8');
  const counted = text.trimEnd().split('\n').length;
  const size = Buffer.byteLength(text);
  if (counted <= lines && size <= bytes) {
    return [];
  }
  return [
    `${file}: ${counted} lines and ${size} bytes; at most ${lines} and ${bytes}. Move text to the guides.`,
  ];
}

/** @returns {string[]} the TypeScript of a translation that is not that of its original, but for comments */
export function differingCode(root, original, translation) {
  const [codes, translated] = [original, translation].map((file) =>
    findBlocks(readFileSync(join(root, file), 'utf8'))
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => ({ line, code: code.replace(/ *\/\/ .*$/gm, '') })),
  );
  if (codes.length !== translated.length) {
    return [`${translation} has ${translated.length} ts blocks, and ${original} ${codes.length}.`];
  }
  return translated
    .filter(({ code }, index) => code !== codes[index].code)
    .map(({ line }) => `${translation}:${line}: the code differs from that of ${original}`);
}

const COMPILED = ['ts', 'tsx'];
const FORMATTED = new Set([...COMPILED, 'js', 'jsx', 'mjs', 'json']);

/**
 * @returns {Promise<string[]>} the code blocks that prettier would write otherwise; it leaves those of Markdown alone
 */
export async function unformattedBlocks(root, file) {
  const { overrides: _overrides, ...options } = JSON.parse(readFileSync(join(root, '.prettierrc'), 'utf8'));
  const blocks = findBlocks(readFileSync(join(root, file), 'utf8')).filter(({ language }) =>
    FORMATTED.has(language),
  );
  const errors = [];
  for (const { line, code, language } of blocks) {
    const formatted = await prettier.format(code, { ...options, filepath: `block.${language}` });
    if (formatted.trimEnd() !== code) {
      errors.push(`${file}:${line}: prettier writes this block as\n${formatted}`);
    }
  }
  return errors;
}

/**
 * Compiles each `ts` and `tsx` block of Markdown files as a module of its own, against the package as it is built.
 *
 * @param {string} root
 * @param {string[]} files
 * @returns {Promise<{ compiled: number, errors: string[] }>} errors with the lines of the Markdown files
 */
export async function compileBlocks(root, files) {
  const blocks = files.flatMap((file, index) =>
    findBlocks(readFileSync(join(root, file), 'utf8'))
      .filter(({ language }) => COMPILED.includes(language))
      .map((block) => ({ ...block, module: `F${index}L${block.line}.${block.language}` })),
  );
  if (blocks.length === 0) {
    return { compiled: 0, errors: [] };
  }
  const folder = mkdtempSync(join(tmpdir(), 'nestjs-event-stream-docs-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['*.ts', '*.tsx'] }),
    );
    for (const { module, line, code, preamble } of blocks) {
      writeFileSync(join(folder, module), inPlace(preamble, { line, code }));
    }
    const { code, output } = await run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder],
      folder,
    );
    const errors = output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) =>
        line.replace(
          /^F(\d+)L\d+\.tsx?\((\d+),(\d+)\)/,
          (_all, index, row, column) => `${files[index]}:${row}:${column}`,
        ),
      );
    return { compiled: blocks.length, errors: code === 0 ? [] : errors };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Code on the lines where it stands in the Markdown, so that what tsc says of a line is true there. */
function inPlace(...parts) {
  let text = '';
  for (const { line, code } of parts.filter((part) => part !== undefined)) {
    text += `${'\n'.repeat(line - 1 - text.split('\n').length + 1)}${code}\n`;
  }
  return `${text}export {};\n`;
}

/**
 * The relative links and anchors of a Markdown file that lead nowhere.
 *
 * @param {string[]} [published] - the files of the package, if the link must lead to one of them
 * @returns {string[]}
 */
export function brokenLinks(root, file, published) {
  const markdown = readFileSync(join(root, file), 'utf8');
  const prose = withoutCode(markdown);
  const broken = [];
  for (const [at, target] of linksOf(prose)) {
    if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target)) {
      continue;
    }
    const [path, anchor] = decodeURI(target).split('#');
    const place = `${file}:${prose.slice(0, at).split('\n').length}`;
    const to =
      path === ''
        ? join(root, file)
        : path.startsWith('/')
          ? join(root, path)
          : resolve(join(root, dirname(file)), path);
    if (relative(root, to).startsWith('..') || !existsSync(to)) {
      broken.push(`${place}: ${target} leads to nothing`);
    } else if (
      anchor &&
      to.endsWith('.md') &&
      statSync(to).isFile() &&
      !anchorsOf(readFileSync(to, 'utf8')).has(anchor)
    ) {
      broken.push(`${place}: ${target}: no heading makes this anchor`);
    } else if (published && !published.includes(relative(root, to))) {
      broken.push(`${place}: ${target} is not in the package`);
    }
  }
  return broken;
}

/** The lines of a Markdown text, with those of its code blocks empty. */
function linesOfProse(markdown) {
  const lines = markdown.split('\n');
  for (const { line, end } of findBlocks(markdown)) {
    lines.fill('', line - 1, end);
  }
  return lines;
}

function withoutCode(markdown) {
  return linesOfProse(markdown)
    .join('\n')
    .replace(/`[^`\n]*`/g, (code) => ' '.repeat(code.length));
}

function linksOf(prose) {
  const patterns = [
    /\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g,
    /^\[[^\]]+\]:\s+(\S+)/gm,
    /\b(?:src|href)="([^"]+)"/g,
  ];
  return patterns.flatMap((pattern) => [...prose.matchAll(pattern)].map((match) => [match.index, match[1]]));
}

/** As GitHub makes them. */
function anchorsOf(markdown) {
  const anchors = new Set([...markdown.matchAll(/\b(?:id|name)="([^"]+)"/g)].map(([, name]) => name));
  for (const line of linesOfProse(markdown)) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line);
    if (heading === null) {
      continue;
    }
    const text = heading[1].replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replace(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, '').replace(/ /g, '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n += 1) {
      anchor = `${slug}-${n}`;
    }
    anchors.add(anchor);
  }
  return anchors;
}
