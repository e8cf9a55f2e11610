// Has packages that stand beside this one find the Nest of NEST_CORE: a process of the other major is started with it.
import { existsSync } from 'node:fs';
import Module, { register } from 'node:module';
import { join, resolve as resolvePath } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const nestCore = process.env.NEST_CORE;
const nestModules = resolvePath(nestCore, '../../..');

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

export function resolve(specifier, context, next) {
  return next(
    specifier,
    isOfNest(specifier) ? { ...context, parentURL: pathToFileURL(nestCore).href } : context,
  );
}
