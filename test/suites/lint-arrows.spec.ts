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
  ['errors/a.ts', '../wire/index.js'],
  ['errors/a.ts', '../time/index.js'],
  ['errors/a.ts', '@nestjs/common'],
  ['time/a.ts', '../wire/index.js'],
  ['time/a.ts', '../log/index.js'],
  ['wire/a.ts', '../connection/index.js'],
  ['wire/a.ts', '../http/index.js'],
  ['wire/a.ts', '../log/index.js'],
  ['wire/a.ts', '../topics/index.js'],
  ['wire/a.ts', '../sse.options.js'],
  ['wire/a.ts', '@nestjs/common'],
  ['http/a.ts', '../connection/index.js'],
  ['http/a.ts', '../log/index.js'],
  ['http/a.ts', '@nestjs/common'],
  ['connection/a.ts', '../operators/index.js'],
  ['connection/a.ts', '../stream/index.js'],
  ['connection/a.ts', '../sse.module.js'],
  ['connection/a.ts', '@nestjs/core'],
  ['connection/a.ts', '../topics/index.js'],
  ['connection/a.ts', '../log/index.js'],
  ['connection/a.ts', '../runs/index.js'],
  ['connection/deeper/a.ts', '../../operators/index.js'],
  ['stream/a.ts', '../runs/index.js'],
  ['stream/a.ts', '../log/index.js'],
  ['stream/a.ts', '../sse.options.js'],
  ['stream/formats/a.ts', '../../sse.options.js'],
  ['stream/formats/a.ts', '../../runs/index.js'],
  ['stream/formats/a.ts', '@nestjs/common'],
  ['log/a.ts', '../topics/index.js'],
  ['log/a.ts', '../connection/index.js'],
  ['log/a.ts', '../runs/index.js'],
  ['log/a.ts', '../engines/index.js'],
  ['log/a.ts', '../sse.options.js'],
  ['log/a.ts', '@nestjs/common'],
  ['log/a.ts', 'nestjs-event-stream'],
  ['limits/a.ts', '../connection/index.js'],
  ['limits/a.ts', '../log/index.js'],
  ['limits/a.ts', '../sse.options.js'],
  ['limits/a.ts', '@nestjs/common'],
  ['trust/a.ts', '../topics/index.js'],
  ['trust/a.ts', '../runs/index.js'],
  ['trust/a.ts', '../engines/memory/index.js'],
  ['trust/a.ts', '@nestjs/common'],
  ['topics/a.ts', '../trust/index.js'],
  ['topics/a.ts', '../operators/index.js'],
  ['topics/a.ts', '../decorators/index.js'],
  ['topics/a.ts', '../sse.service.js'],
  ['topics/a.ts', '@nestjs/core'],
  ['topics/a.ts', '../runs/index.js'],
  ['topics/a.ts', '../stream/index.js'],
  ['topics/a.ts', '../engines/memory/index.js'],
  ['topics/deeper/a.ts', '../../sse.options.js'],
  ['runs/a.ts', '../operators/index.js'],
  ['runs/a.ts', '../topics/index.js'],
  ['runs/a.ts', '../sse.service.js'],
  ['runs/a.ts', '../engines/redis/index.js'],
  ['runs/a.ts', '../swagger/index.js'],
  ['runs/a.ts', '@nestjs/common'],
  ['runs/client/a.ts', '../../sse.options.js'],
  ['runs/client/a.ts', '../../topics/index.js'],
  ['runs/client/a.ts', '@nestjs/common'],
  ['operators/a.ts', '../topics/index.js'],
  ['operators/a.ts', '../connection/index.js'],
  ['operators/a.ts', '../decorators/index.js'],
  ['operators/a.ts', '@nestjs/common'],
  ['operators/a.ts', 'nestjs-event-stream'],
  ['testing/a.ts', '../connection/index.js'],
  ['testing/a.ts', '../sse.service.js'],
  ['testing/a.ts', '../swagger/index.js'],
  ['testing/a.ts', '../engines/redis/index.js'],
  ['client/a.ts', '../connection/index.js'],
  ['client/a.ts', '../errors/show.js'],
  ['client/a.ts', '../wire/index.js'],
  ['client/a.ts', '../index.js'],
  ['client/a.ts', 'node:events'],
  ['client/a.ts', 'rxjs'],
  ['client/a.ts', '@nestjs/common'],
  ['client/a.ts', 'nestjs-event-stream'],
  ['client/sharing/a.ts', '../index.js'],
  ['client/sharing/a.ts', '../../wire/index.js'],
  ['client/sharing/a.ts', '../../errors/show.js'],
  ['client/sharing/a.ts', 'node:events'],
  ['client/a.ts', '../ai-sdk/index.js'],
  ['client/a.ts', 'ai'],
  ['ai-sdk/a.ts', '../client/index.js'],
  ['ai-sdk/a.ts', '../wire/frame.js'],
  ['ai-sdk/a.ts', '../ag-ui/index.js'],
  ['ai-sdk/a.ts', '@ag-ui/client'],
  ['ai-sdk/a.ts', 'rxjs'],
  ['ag-ui/a.ts', '../ai-sdk/index.js'],
  ['ag-ui/a.ts', '../index.js'],
  ['ag-ui/a.ts', 'ai'],
  ['ag-ui/a.ts', 'rxjs'],
  ['sse.service.ts', './ai-sdk/index.js'],
  ['topics/a.ts', '../ag-ui/index.js'],
  ['react/a.ts', '../wire/typed-topic.js'],
  ['react/a.ts', '../index.js'],
  ['react/a.ts', '../errors/index.js'],
  ['react/a.ts', 'react-dom'],
  ['react/a.ts', 'node:events'],
  ['react/a.ts', 'nestjs-event-stream/client'],
  ['client/a.ts', '../react/index.js'],
  ['client/a.ts', 'react'],
  ['sse.service.ts', './react/index.js'],
  ['wire/a.ts', '../client/index.js'],
  ['sse.service.ts', './client/index.js'],
  ['topics/a.ts', '../client/index.js'],
  ['testing/a.ts', '../client/index.js'],
  ['swagger/a.ts', '../decorators/index.js'],
  ['swagger/a.ts', '../runs/index.js'],
  ['swagger/a.ts', '../wire/index.js'],
  ['swagger/a.ts', '../sse.service.js'],
  ['swagger/a.ts', '../testing/index.js'],
  ['swagger/a.ts', 'nestjs-event-stream'],
  ['decorators/a.ts', '../swagger/index.js'],
  ['decorators/a.ts', '@nestjs/swagger'],
  ['decorators/a.ts', '../testing/index.js'],
  ['decorators/a.ts', '../engines/redis/index.js'],
  ['routes/a.ts', '../engines/nats/index.js'],
  ['routes/a.ts', '../testing/index.js'],
  ['index.ts', './swagger/index.js'],
  ['index.ts', './engines/nats/index.js'],
  ['sse.service.ts', './testing/index.js'],
  ['sse.options.ts', './engines/redis/index.js'],
  ['sse.options.ts', './routes/index.js'],
  ['sse.failure.ts', './routes/serving.js'],
  ['sse.admission.ts', './routes/index.js'],
  ['sse.module-definition.ts', './routes/index.js'],
  ['sse.service.ts', './routes/index.js'],
  ['sse.runs.ts', './routes/index.js'],
  ['index.ts', './routes/index.js'],
  ['decorators/a.ts', '../routes/index.js'],
  ['sse.module.ts', './engines/redis/index.js'],
  ['sse.module.ts', './swagger/index.js'],
  ['routes/a.ts', '@nestjs/swagger'],
  ['engines/a.ts', '../topics/index.js'],
  ['engines/memory/a.ts', '../redis/index.js'],
  ['engines/redis/a.ts', '../nats/index.js'],
  ['engines/nats/a.ts', '../redis/index.js'],
  ['engines/redis/a.ts', '../../topics/index.js'],
  ['engines/redis/a.ts', '../../connection/index.js'],
  ['engines/redis/a.ts', '../../runs/index.js'],
  ['engines/redis/a.ts', '../../sse.options.js'],
  ['engines/redis/a.ts', '@nestjs/common'],
  ['engines/nats/named/a.ts', '../../redis/index.js'],
  ['engines/nats/named/a.ts', '../../../sse.options.js'],
  ['engines/nats/a.ts', '../../index.js'],
  ['engines/nats/a.ts', 'nestjs-event-stream'],
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
  for (const text of forms) {
    expect(lint({ 'lib/wire/a.ts': text })).toEqual(['eslint(no-restricted-imports)']);
  }
});

it.each([
  ['time/a.ts', '../errors/index.js'],
  ['wire/a.ts', '../errors/index.js'],
  ['wire/a.ts', './frame.js'],
  ['http/a.ts', '../wire/index.js'],
  ['http/a.ts', '../time/index.js'],
  ['connection/a.ts', '../http/index.js'],
  ['connection/a.ts', '../wire/index.js'],
  ['connection/a.ts', '../errors/index.js'],
  ['stream/a.ts', '../connection/index.js'],
  ['stream/formats/a.ts', '../format.js'],
  ['stream/formats/a.ts', '../../wire/index.js'],
  ['stream/formats/a.ts', '../../errors/index.js'],
  ['log/a.ts', '../wire/index.js'],
  ['log/a.ts', '../time/index.js'],
  ['topics/a.ts', '../log/index.js'],
  ['topics/a.ts', '../connection/index.js'],
  ['topics/a.ts', '../wire/index.js'],
  ['topics/a.ts', '../errors/index.js'],
  ['topics/a.ts', 'rxjs'],
  ['runs/a.ts', '../log/index.js'],
  ['runs/a.ts', '../stream/index.js'],
  ['runs/a.ts', './client/follower.js'],
  ['runs/client/a.ts', '../record/records.js'],
  ['runs/client/a.ts', '../options.js'],
  ['runs/client/a.ts', '../../connection/index.js'],
  ['runs/client/a.ts', '../../errors/index.js'],
  ['operators/a.ts', '../http/index.js'],
  ['operators/a.ts', 'rxjs'],
  ['engines/a.ts', '../log/index.js'],
  ['engines/memory/a.ts', '../identity.js'],
  ['engines/redis/a.ts', '../../log/index.js'],
  ['engines/redis/a.ts', '../../wire/index.js'],
  ['engines/redis/a.ts', '../../errors/index.js'],
  ['engines/redis/a.ts', '../index.js'],
  ['engines/redis/a.ts', 'ioredis'],
  ['engines/nats/a.ts', './message.js'],
  ['engines/nats/a.ts', '@nats-io/jetstream'],
  ['engines/nats/named/a.ts', '../message.js'],
  ['engines/nats/named/a.ts', '../../identity.js'],
  ['engines/nats/named/a.ts', '../../../log/index.js'],
  ['swagger/a.ts', '../index.js'],
  ['swagger/a.ts', '../errors/index.js'],
  ['swagger/a.ts', './event-schema.js'],
  ['swagger/a.ts', '@nestjs/swagger'],
  ['client/a.ts', '../wire/position.js'],
  ['client/a.ts', './feed.js'],
  ['ai-sdk/a.ts', '../client/sse-client.js'],
  ['ai-sdk/a.ts', './chat-requests.js'],
  ['ai-sdk/a.ts', 'ai'],
  ['ag-ui/a.ts', '../client/sse-client.js'],
  ['ag-ui/a.ts', '@ag-ui/client'],
  ['react/a.ts', '../client/index.js'],
  ['react/a.ts', './frames.js'],
  ['react/a.ts', 'react'],
  ['testing/a.ts', '../index.js'],
  ['testing/a.ts', '../wire/index.js'],
  ['decorators/a.ts', '../connection/index.js'],
  ['decorators/a.ts', '@nestjs/common'],
  ['routes/a.ts', '../connection/index.js'],
  ['routes/a.ts', '../sse.options.js'],
  ['routes/a.ts', '../sse.admission.js'],
  ['sse.module.ts', './routes/index.js'],
  ['sse.service.ts', './connection/index.js'],
  ['sse.service.ts', './topics/index.js'],
  ['sse.service.ts', './runs/index.js'],
  ['sse.options.ts', './log/index.js'],
  ['sse.options.ts', './engines/memory/index.js'],
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
