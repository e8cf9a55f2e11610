import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { markdownFiles, publishedFiles } from '../suites/docs.mjs';
import { run } from '../suites/npm-ci.mjs';
import { NEST_VERSIONS, SCRATCH } from './scratch.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGE = join(SCRATCH, NEST_VERSIONS[0]!, 'node_modules/nestjs-event-stream');
const { output } = await run('tar', ['-tzf', join(SCRATCH, 'nestjs-event-stream.tgz')], SCRATCH);
const files = output
  .split('\n')
  .filter((file) => file !== '')
  .map((file) => file.replace(/^package\//, ''));

interface Manifest {
  dependencies?: object;
  scripts?: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional: boolean }>;
}
const manifest = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as Manifest;
const read = (file: string) => readFileSync(join(PACKAGE, file), 'utf8');

/** The packages that a module names, without its relative imports. */
function packagesOf(file: string): string[] {
  const code = read(file).replace(/\/\*[\s\S]*?\*\//g, '');
  const named = [
    ...code.matchAll(
      /(?:\bfrom|\bimport|\bimport\(|(?<!\.)\brequire\(|types=)\s*["']([a-z@][\w@/.:-]*)["']/gi,
    ),
  ];
  return named.map(([, name]) =>
    name!
      .split('/')
      .slice(0, name!.startsWith('@') ? 2 : 1)
      .join('/'),
  );
}

describe('the tarball', () => {
  it('holds the README and every guide at its place in the repository, and no other file of a room', () => {
    const guides = publishedFiles(ROOT);
    expect(guides.filter((guide) => !files.includes(guide))).toEqual([]);
    const rooms = markdownFiles(ROOT).filter((file) => /^(lib|sample)\//.test(file));
    expect(rooms.filter((file) => !files.includes(file))).toEqual([]);
  });

  it('holds both builds with their declarations, and nothing of the workshop', () => {
    const built = files.filter((file) => file.startsWith('dist/'));
    for (const kind of ['esm', 'cjs']) {
      for (const entry of [
        'index',
        'ag-ui/index',
        'ai-sdk/index',
        'client/index',
        'react/index',
        'engines/nats/index',
        'engines/postgres/index',
        'engines/redis/index',
        'inspector/index',
        'opentelemetry/index',
        'prometheus/index',
        'terminus/index',
        'swagger/index',
        'testing/index',
      ]) {
        expect(built).toContain(`dist/${kind}/${entry}.js`);
        expect(built).toContain(`dist/${kind}/${entry}.d.ts`);
      }
    }
    const esm = built
      .filter((file) => file.startsWith('dist/esm/'))
      .map((file) => file.slice('dist/esm/'.length));
    const cjs = built
      .filter((file) => file.startsWith('dist/cjs/'))
      .map((file) => file.slice('dist/cjs/'.length));
    expect(esm).toEqual(cjs);
    // One file is an ES module in both builds: it tells where the page's modules are.
    const expectedKinds = /\.(d\.ts|js)$|\/package\.json$|\/inspector\/here\.(d\.mts|mjs)$/;
    expect(built.filter((file) => !expectedKinds.test(file))).toEqual([]);
    expect(built.filter((file) => /\.spec\.|\.map$/.test(file))).toEqual([]);

    const rest = files.filter((file) => !file.startsWith('dist/'));
    const expected = ['LICENSE', 'package.json', 'CHANGELOG.md', ...publishedFiles(ROOT)];
    expect(rest.filter((file) => !expected.includes(file))).toEqual([]);
    expect(rest).toEqual(expect.arrayContaining(['LICENSE', 'package.json']));
  });

  it('brings no dependency and runs no script when it is installed', () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(
      Object.keys(manifest.scripts ?? {}).filter((name) => /^(pre|post)?install$|^prepare$/.test(name)),
    ).toEqual([]);
  });

  it('says in its types what it says in the source', () => {
    for (const kind of ['esm', 'cjs']) {
      expect(read(`dist/${kind}/sse.options.d.ts`)).toContain('@defaultValue');
      expect(read(`dist/${kind}/sse.service.d.ts`)).toContain('/**');
    }
  });
});

/** The declarations that a compiler reads of an entry point: what it imports, and what that does. */
function reachedFrom(entry: string, reached = new Set<string>()): Set<string> {
  if (!reached.has(entry)) {
    reached.add(entry);
    for (const [, relative] of read(entry).matchAll(/(?:from|import\()\s*["'](\.[^"']+)["']/g)) {
      reachedFrom(join(entry, '..', relative!.replace(/\.js$/, '.d.ts')), reached);
    }
  }
  return reached;
}

const entries = [
  'index',
  'ag-ui/index',
  'ai-sdk/index',
  'client/index',
  'react/index',
  'testing/index',
  'engines/redis/index',
  'engines/nats/index',
  'engines/postgres/index',
  'inspector/index',
  'opentelemetry/index',
  'prometheus/index',
  'swagger/index',
  'terminus/index',
].flatMap((entry) => ['esm', 'cjs'].map((kind) => `dist/${kind}/${entry}.d.ts`));

/** Whether a file is part of an entry point that nobody loads without that peer. */
const isFor = (file: string, peer: string) => file.split('/')[2] === ROOM_OF[peer];
const ROOM_OF: Readonly<Record<string, string>> = {
  '@nestjs/swagger': 'swagger',
  'prom-client': 'prometheus',
  '@nestjs/terminus': 'terminus',
  '@opentelemetry/api': 'opentelemetry',
  ai: 'ai-sdk',
  '@ag-ui/client': 'ag-ui',
  react: 'react',
};

/** What a page loads of the client: each file, and its code. */
function loadedBy(file: string, loaded = new Map<string, string>()): Map<string, string> {
  if (!loaded.has(file)) {
    const code = read(file);
    loaded.set(file, code);
    for (const [, relative] of code.matchAll(/(?:from|import\(|require\()\s*["'](\.[^"']+)["']/g)) {
      loadedBy(join(file, '..', relative!), loaded);
    }
  }
  return loaded;
}

describe('what the tarball imports', () => {
  describe.each<[entry: string, code: string[], types: string[]]>([
    ['client', [], []],
    ['react', ['react'], ['react']],
    // Types alone: a page needs nothing of it at run time.
    ['ai-sdk', [], ['ai']],
    ['ag-ui', ['@ag-ui/client'], ['@ag-ui/client']],
  ])('in %s, for pages,', (entry, ofCode, ofTypes) => {
    it.each(['esm', 'cjs'])('is nothing of Node, Nest or RxJS, as %s', (kind) => {
      const loaded = loadedBy(`dist/${kind}/${entry}/index.js`);
      const rooms = new Set([...loaded.keys()].map((file) => file.split('/')[2]));
      expect(rooms).toEqual(new Set([entry, 'client', 'errors', 'wire'].filter((room) => rooms.has(room))));
      expect([...new Set([...loaded.keys()].flatMap(packagesOf))]).toEqual(ofCode);
      const ofNode = [...loaded].filter(([, code]) =>
        /\b(Buffer|process|setImmediate|__dirname)\b[.(]/.test(code.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')),
      );
      expect(ofNode.map(([file]) => file)).toEqual([]);
      const types = [...reachedFrom(`dist/${kind}/${entry}/index.d.ts`)];
      expect([...new Set(types.flatMap(packagesOf))]).toEqual(ofTypes);
    });
  });

  it.each([
    ['its public types', [...new Set(entries.flatMap((entry) => [...reachedFrom(entry)]))]],
    ['its code', files.filter((file) => file.startsWith('dist/') && file.endsWith('.js'))],
  ])(
    'in %s is Node and its peers, none of them optional but where an entry point is for it',
    (_what, modules) => {
      const required = Object.keys(manifest.peerDependencies).filter(
        (name) => manifest.peerDependenciesMeta?.[name]?.optional !== true,
      );
      const imported = modules.flatMap((file) => packagesOf(file).map((name) => ({ file, name })));
      const foreign = imported.filter(
        ({ file, name }) =>
          !isBuiltin(name) && name !== 'node' && !required.includes(name) && !isFor(file, name),
      );

      expect(modules.length).toBeGreaterThan(10);
      expect(imported.length).toBeGreaterThan(0);
      expect(foreign).toEqual([]);
    },
  );
});
