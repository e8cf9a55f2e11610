import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from '@jest/globals';

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** What the linter, set up as it is for lib/, says of a tree of files. */
function lint(files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), 'lint-arrows-'));
  folders.push(root);
  copyFileSync(fromRoot('.oxlintrc.json'), join(root, '.oxlintrc.json'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const { stdout } = spawnSync(fromRoot('node_modules/.bin/oxlint'), ['--format=json'], {
    cwd: root,
    encoding: 'utf8',
  });
  return (JSON.parse(stdout) as { diagnostics: { code: string }[] }).diagnostics.map(({ code }) => code);
}

const imports = (from: string) => `import { x } from '${from}';\nexport const y = x;\n`;

it.each([
  ['wire/a.ts', '../connection/index.js'],
  ['wire/a.ts', '../log/index.js'],
  ['wire/a.ts', '../topics/index.js'],
  ['wire/a.ts', '../sse.options.js'],
  ['wire/a.ts', '@nestjs/common'],
  ['connection/a.ts', '../operators/index.js'],
  ['connection/a.ts', '../sse.module.js'],
  ['connection/a.ts', '@nestjs/core'],
  ['connection/a.ts', '../topics/index.js'],
  ['connection/a.ts', '../log/index.js'],
  ['log/a.ts', '../topics/index.js'],
  ['log/a.ts', '../connection/index.js'],
  ['log/a.ts', '../sse.options.js'],
  ['log/a.ts', '@nestjs/common'],
  ['log/a.ts', 'nestjs-event-stream'],
  ['topics/a.ts', '../operators/index.js'],
  ['topics/a.ts', '../decorators/index.js'],
  ['topics/a.ts', '../sse.service.js'],
  ['topics/a.ts', '@nestjs/core'],
  ['topics/deeper/a.ts', '../../sse.options.js'],
  ['connection/deeper/a.ts', '../../operators/index.js'],
  ['runs/a.ts', '../operators/index.js'],
  ['runs/a.ts', '../sse.service.js'],
  ['runs/a.ts', '../redis/index.js'],
  ['runs/a.ts', '@nestjs/common'],
  ['runs/formats/a.ts', '../../sse.options.js'],
  ['runs/formats/a.ts', '@nestjs/common'],
  ['connection/a.ts', '../runs/index.js'],
  ['topics/a.ts', '../runs/index.js'],
  ['log/a.ts', '../runs/index.js'],
  ['redis/a.ts', '../runs/index.js'],
  ['operators/a.ts', '../topics/index.js'],
  ['operators/a.ts', '../decorators/index.js'],
  ['operators/a.ts', '@nestjs/common'],
  ['operators/a.ts', 'nestjs-event-stream'],
  ['testing/a.ts', '../connection/index.js'],
  ['testing/a.ts', '../sse.service.js'],
  ['swagger/a.ts', '../decorators/index.js'],
  ['swagger/a.ts', '../runs/index.js'],
  ['swagger/a.ts', '../wire/index.js'],
  ['swagger/a.ts', '../sse.service.js'],
  ['swagger/a.ts', '../testing/index.js'],
  ['swagger/a.ts', 'nestjs-event-stream'],
  ['decorators/a.ts', '../swagger/index.js'],
  ['decorators/a.ts', '@nestjs/swagger'],
  ['index.ts', './swagger/index.js'],
  ['testing/a.ts', '../swagger/index.js'],
  ['runs/a.ts', '../swagger/index.js'],
  ['decorators/a.ts', '../testing/index.js'],
  ['sse.service.ts', './testing/index.js'],
  ['sse.options.ts', './redis/index.js'],
  ['index.ts', './nats/index.js'],
  ['decorators/a.ts', '../redis/index.js'],
  ['log/a.ts', '../redis/index.js'],
  ['topics/a.ts', '../nats/index.js'],
  ['testing/a.ts', '../redis/index.js'],
  ['redis/a.ts', '../nats/index.js'],
  ['nats/a.ts', '../redis/index.js'],
  ['redis/a.ts', '../topics/index.js'],
  ['redis/a.ts', '../connection/index.js'],
  ['redis/a.ts', '../sse.options.js'],
  ['redis/a.ts', '@nestjs/common'],
  ['nats/a.ts', '../index.js'],
  ['nats/a.ts', 'nestjs-event-stream'],
  ['sse.errors.ts', './wire/index.js'],
])('refuses in lib/%s an import of %s', (file, from) => {
  expect(lint({ [`lib/${file}`]: imports(from) })).toEqual(['eslint(no-restricted-imports)']);
});

it('refuses a wrong import in every form', () => {
  const forms = [
    "import type { X } from '../connection/index.js';\nexport type Y = X;\n",
    "export { x } from '../connection/index.js';\n",
    "export * from '../connection/index.js';\n",
    "export const x = import('../connection/index.js');\n",
  ];
  for (const text of forms)
    expect(lint({ 'lib/wire/a.ts': text })).toEqual(['eslint(no-restricted-imports)']);
});

it.each([
  ['wire/a.ts', '../sse.errors.js'],
  ['wire/a.ts', './frame.js'],
  ['connection/a.ts', '../wire/index.js'],
  ['connection/a.ts', '../sse.errors.js'],
  ['log/a.ts', '../wire/index.js'],
  ['log/a.ts', '../sse.errors.js'],
  ['topics/a.ts', '../log/index.js'],
  ['topics/a.ts', '../connection/index.js'],
  ['topics/a.ts', '../wire/index.js'],
  ['topics/a.ts', '../sse.errors.js'],
  ['topics/a.ts', 'rxjs'],
  ['runs/a.ts', '../topics/index.js'],
  ['runs/a.ts', '../log/index.js'],
  ['runs/a.ts', './formats/index.js'],
  ['runs/formats/a.ts', '../../connection/index.js'],
  ['runs/formats/a.ts', '../../wire/index.js'],
  ['runs/formats/a.ts', '../../sse.errors.js'],
  ['operators/a.ts', '../connection/index.js'],
  ['operators/a.ts', '../wire/index.js'],
  ['operators/a.ts', 'rxjs'],
  ['redis/a.ts', '../log/index.js'],
  ['redis/a.ts', '../wire/index.js'],
  ['redis/a.ts', '../sse.errors.js'],
  ['redis/a.ts', 'ioredis'],
  ['nats/a.ts', '../log/index.js'],
  ['nats/a.ts', './message.js'],
  ['nats/a.ts', '@nats-io/jetstream'],
  ['swagger/a.ts', '../index.js'],
  ['swagger/a.ts', '../sse.errors.js'],
  ['swagger/a.ts', './event-schema.js'],
  ['swagger/a.ts', '@nestjs/swagger'],
  ['testing/a.ts', '../index.js'],
  ['testing/a.ts', '../wire/index.js'],
  ['decorators/a.ts', '../connection/index.js'],
  ['decorators/a.ts', '@nestjs/common'],
  ['sse.service.ts', './connection/index.js'],
  ['sse.service.ts', './topics/index.js'],
  ['sse.service.ts', './runs/index.js'],
  ['sse.options.ts', './log/index.js'],
])('allows in lib/%s an import of %s', (file, from) => {
  expect(lint({ [`lib/${file}`]: imports(from) })).toEqual([]);
});

it('refuses two files that import each other', () => {
  const files = {
    'lib/wire/a.ts': imports('./b.js').replaceAll('y', 'z'),
    'lib/wire/b.ts': imports('./a.js'),
  };
  expect(lint(files)).toContain('import(no-cycle)');
});

it('has no rule switched off within lib/', () => {
  const sources = readdirSync(fromRoot('lib'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'),
  );
  expect(sources).toContain('index.ts');
  const escapes = /(oxlint|eslint)-disable|@ts-(ignore|expect-error|nocheck)|\bas any\b/;
  expect(sources.filter((file) => escapes.test(readFileSync(fromRoot(`lib/${file}`), 'utf8')))).toEqual([]);
});
