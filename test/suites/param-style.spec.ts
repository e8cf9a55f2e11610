import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** How TSDoc writes a parameter. In JavaScript it has a type, which may be all that there is to say. */
const RIGHT = /@param (\w[\w.]* - \S|\{.+\} \[?[\w.]+\]?( - \S|( \*\/)?$))/;

/** Finds `@param` tags that are not written as `@param name - text`. */
function wrongParams(text: string): string[] {
  return [...text.matchAll(/^\s*(?:\*|\/\*\*) *@param\b.*/gm)]
    .map(([line]) => line.trim())
    .filter((line) => !RIGHT.test(line));
}

it.each([
  ['/** @param path of the file */', 1],
  ['/** @param path: the file */', 1],
  [' * @param {string} path the file', 1],
  [' * @param path', 1],
  ['/** @param path - of the file */', 0],
  [' * @param {{ path: string }} options', 0],
  [' * @param {string} [path] - the file', 0],
  [' * @param options.keepData - writes everything to disk first', 0],
])('tells the style of %s', (text, wrong) => {
  expect(wrongParams(text)).toHaveLength(wrong);
});

it.each(['lib', 'test', 'sample'])('has one style of @param in %s/', (room) => {
  const files = readdirSync(fromRoot(room), { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.(ts|mts|mjs)$/.test(file) && !/(^|\/)(node_modules|dist|\.tmp)\//.test(file),
  );
  expect(files.length).toBeGreaterThan(0);
  const wrong = files
    .filter((file) => !file.endsWith('param-style.spec.ts'))
    .flatMap((file) =>
      wrongParams(readFileSync(fromRoot(`${room}/${file}`), 'utf8')).map(
        (line) => `${room}/${file}: ${line}`,
      ),
    );
  expect(wrong).toEqual([]);
});
