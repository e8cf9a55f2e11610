// Loads TypeScript, and resolves as jest.config.mjs does, in a process that jest does not run.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import Module, { register } from 'node:module';
import { join, resolve as resolvePath } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const nestCore = process.env.NEST_CORE;
const nestModules = resolvePath(nestCore, '../../..');
const lib = new URL('../../../lib/', import.meta.url).href;

if (isMainThread) {
  register(import.meta.url);
  resolveForRequire();
}

/** Whether it is of Nest, and installed beside the major of this process. Packages that run on both stand beside Nest 12. */
function isOfNest(specifier) {
  const [scope, name] = specifier.split('/');
  return scope === '@nestjs' && existsSync(join(nestModules, scope, name));
}

function resolveForRequire() {
  const nest = { id: nestCore, filename: nestCore, paths: [nestModules] };
  const resolveFilename = Module._resolveFilename;
  Module._resolveFilename = function (request, parent, ...rest) {
    return resolveFilename.call(this, request, isOfNest(request) ? nest : parent, ...rest);
  };
}

/** The folder in lib/ of an entry point; the package's own where there is none. */
function folderOf(entry) {
  if (entry === undefined) {
    return '';
  }
  return ['redis', 'nats', 'postgres'].includes(entry) ? `engines/${entry}/` : `${entry}/`;
}

export function resolve(specifier, context, next) {
  const [packageName, entry] = specifier.split('/');
  if (packageName === 'nestjs-event-stream') {
    return next(`${lib}${folderOf(entry)}index.ts`, context);
  }
  if (isOfNest(specifier)) {
    return next(specifier, { ...context, parentURL: pathToFileURL(nestCore).href });
  }
  if (!context.parentURL?.endsWith('.ts')) {
    return next(specifier, context);
  }
  return next(specifier.replace(/^(\.{1,2}\/.*)\.js$/, '$1.ts'), context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) {
    return next(url, context);
  }
  // Late: a process whose script is built needs it not.
  const { transform } = await import('@swc/core');
  const { code } = await transform(await readFile(fileURLToPath(url), 'utf8'), {
    filename: fileURLToPath(url),
    swcrc: false,
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}
