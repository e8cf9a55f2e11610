// Loads TypeScript, and resolves as jest.config.mjs does, in a process that jest does not run.
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { transform } from '@swc/core';

if (isMainThread) {
  register(import.meta.url);
}

const nestCore = pathToFileURL(process.env.NEST_CORE).href;
const lib = new URL('../../lib/', import.meta.url).href;

export function resolve(specifier, context, next) {
  const [packageName, entry] = specifier.split('/');
  if (packageName === 'nestjs-event-stream') {
    return next(`${lib}${entry === undefined ? '' : `${entry}/`}index.ts`, context);
  }
  if (!context.parentURL?.endsWith('.ts')) {
    return next(specifier, context);
  }
  if (specifier.startsWith('@nestjs/')) {
    return next(specifier, { ...context, parentURL: nestCore });
  }
  return next(specifier.replace(/^(\.{1,2}\/.*)\.js$/, '$1.ts'), context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) {
    return next(url, context);
  }
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
