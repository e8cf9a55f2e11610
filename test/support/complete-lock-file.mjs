/**
 * Adds to a lock file what a registry does not serve: builds of native packages for other platforms than this one.
 *
 *   node test/support/complete-lock-file.mjs package-lock.json
 *
 * npm leaves an optional dependency that it cannot fetch out of the lock file, and `npm ci` then refuses the lock
 * file, since the dependency is missing (npm/cli#9846). An entry with its platform is enough: npm passes over it
 * elsewhere. Run it after npm install, where the registry is a partial mirror; on a full one it finds nothing to do.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const SYSTEMS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const CPUS = ['arm64', 'arm', 'x64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32'];

const [path = 'package-lock.json'] = process.argv.slice(2);
const lock = JSON.parse(readFileSync(path, 'utf8'));
const added = [];

for (const [place, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const hoisted = `node_modules/${name}`;
    if (lock.packages[`${place}/${hoisted}`] !== undefined || lock.packages[hoisted] !== undefined) continue;
    lock.packages[hoisted] = {
      version,
      ...platformOf(name),
      ...(entry.dev && { dev: true }),
      optional: true,
    };
    added.push(hoisted);
  }
}

const [[rootKey, root], ...rest] = Object.entries(lock.packages);
rest.sort(([a], [b]) => a.localeCompare(b, 'en'));
lock.packages = { [rootKey]: root, ...Object.fromEntries(rest) };
if (added.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${path}: ${added.length} entries added`);

/** `…-linux-x64-musl`: what such names say, in the fields by which npm decides. */
function platformOf(name) {
  const parts = name.split(/[/-]/);
  const os = parts.find((part) => SYSTEMS.includes(part));
  const cpu = parts.find((part) => CPUS.includes(part));
  if (cpu === undefined) throw new Error(`${name} is not served, and its name tells no platform.`);
  const libc = parts.includes('musl')
    ? 'musl'
    : parts.includes('gnu') && os === 'linux'
      ? 'glibc'
      : undefined;
  return { cpu: [cpu], ...(libc && { libc: [libc] }), ...(os && { os: [os] }) };
}
