import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { run } from '../suites/npm-ci.mjs';
import { SCRATCH } from './scratch.js';

const README = fileURLToPath(new URL('../../README.md', import.meta.url));

interface Published {
  readme?: string;
  versions: Record<string, { readme?: string; readmeFilename?: string }>;
}

/** What npm sends when the tarball is published: to a registry on loopback, which keeps it. */
async function publish(): Promise<Published> {
  let published: Promise<unknown> | undefined;
  const registry = createServer((request, response) => {
    if (request.method === 'PUT') {
      published = json(request);
    }
    response.setHeader('content-type', 'application/json');
    response.writeHead(request.method === 'PUT' ? 201 : 404);
    request.once('end', () => response.end('{}')).resume();
  }).listen(0, '127.0.0.1');
  await once(registry, 'listening');
  try {
    const { port } = registry.address() as AddressInfo;
    const folder = await mkdtemp(join(SCRATCH, 'publish-'));
    const npmrc = join(folder, 'npmrc');
    await writeFile(npmrc, `registry=http://127.0.0.1:${port}/\n//127.0.0.1:${port}/:_authToken=none\n`);
    const tarball = join(SCRATCH, 'nestjs-event-stream.tgz');
    const { code, output } = await run(
      'npm',
      ['publish', tarball, '--userconfig', npmrc, '--provenance=false', '--ignore-scripts'],
      folder,
    );
    if (code !== 0 || published === undefined) {
      throw new Error(`npm publish: ${code}\n${output}`);
    }
    return (await published) as Published;
  } finally {
    registry.closeAllConnections();
    registry.close();
    await once(registry, 'close');
  }
}

describe("the registry's page", () => {
  it('is README.md, whole, and in no other language', async () => {
    const { readme, versions } = await publish();
    const [version] = Object.values(versions);
    const expected = readFileSync(README, 'utf8');

    expect(version!.readmeFilename).toBe('README.md');
    expect(readme ?? version!.readme).toBe(expected);
    // The registry keeps 64 KB of a page.
    expect(Buffer.byteLength(expected)).toBeLessThan(64 * 1024);
  });

  it('shows no picture by a relative link, which leads nowhere there', () => {
    const readme = readFileSync(README, 'utf8');
    const pictures = [...readme.matchAll(/!\[[^\]]*\]\(([^)]+)\)|src="([^"]+)"/g)].map(
      (match) => match[1] ?? match[2]!,
    );
    expect(pictures.filter((url) => !url.startsWith('https:'))).toEqual([]);
  });
});
