/**
 * Packs the package as npm would publish it and installs that tarball into one folder for each version of Nest and of
 * React, outside the repository, so that nothing resolves to the repository's own node_modules.
 *
 *   <folder>/nestjs-event-stream.tgz
 *   <folder>/nest-12.5.1/node_modules/…      the fixture's lock file, and the tarball
 *   <folder>/nest-12.5.1/esm, …/cjs          apps/app, as ES modules and as CommonJS
 *   <folder>/nest-12.5.1/runners             apps/runners
 *   <folder>/react-19/esm, …/cjs             apps/pages
 */
import { cpSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npmCi, run } from '../suites/npm-ci.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '..', '..');

/** @returns {Promise<{ unavailable?: string, failure?: string }>} empty where everything is installed */
export async function install(folder) {
  const packed = await run('npm', ['pack', '--loglevel=error', '--pack-destination', folder], ROOT);
  if (packed.code !== 0) {
    return { failure: `npm pack exited with ${packed.code}:\n${packed.output}` };
  }
  const tarball = join(folder, 'nestjs-event-stream.tgz');
  renameSync(
    join(
      folder,
      readdirSync(folder).find((name) => name.endsWith('.tgz')),
    ),
    tarball,
  );

  const fixtures = readdirSync(join(HERE, 'apps')).filter((name) => /^(nest|react)-/.test(name));
  const outcomes = await Promise.all(
    fixtures.map((name) => installFixture(join(HERE, 'apps', name), join(folder, name), tarball)),
  );
  return (
    outcomes.find((outcome) => outcome.failure !== undefined) ??
    outcomes.find((outcome) => outcome.unavailable !== undefined) ??
    {}
  );
}

async function installFixture(fixture, folder, tarball) {
  const isPage = basename(fixture).startsWith('react-');
  cpSync(fixture, folder, { recursive: true });
  const installed = await npmCi(folder);
  if (installed.unavailable ?? installed.failure) {
    return installed;
  }

  // Offline: the tarball brings no dependency, and its peers are there, in versions that it accepts. Were one not,
  // npm would ask the registry, and fail here.
  const args = ['install', '--no-save', '--offline', '--no-audit', '--no-fund', '--loglevel=error', tarball];
  if (isPage) {
    // The peers of the server, which a page goes without.
    args.push('--legacy-peer-deps');
  }
  const { code, output } = await run('npm', args, folder);
  if (code !== 0) {
    return { failure: `installing the tarball in ${folder} exited with ${code}:\n${output}` };
  }

  for (const type of ['module', 'commonjs']) {
    const app = join(folder, type === 'module' ? 'esm' : 'cjs');
    cpSync(join(HERE, 'apps', isPage ? 'pages' : 'app'), app, { recursive: true });
    writeFileSync(join(app, 'package.json'), `${JSON.stringify({ private: true, type })}\n`);
  }
  if (isPage) {
    return {};
  }
  cpSync(join(HERE, 'apps', 'runners'), join(folder, 'runners'), { recursive: true });
  cpSync(join(HERE, 'apps', 'cjs-feature'), join(folder, 'node_modules', 'cjs-feature'), { recursive: true });
  return {};
}
