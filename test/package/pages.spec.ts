import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { run } from '../suites/npm-ci.mjs';
import { REACT_VERSIONS, SCRATCH, tsc } from './scratch.js';

const JSDOM = pathToFileURL(createRequire(import.meta.url).resolve('jsdom')).href;

describe.each(REACT_VERSIONS)('the packed tarball in a page on %s', (version) => {
  it('is installed without Nest and RxJS', () => {
    const modules = join(SCRATCH, version, 'node_modules');
    const there = (name: string) => existsSync(join(modules, name));
    expect(['nestjs-event-stream', 'react', '@nestjs', 'rxjs', 'reflect-metadata'].map(there)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  describe.each(['esm', 'cjs'])('of %s', (type) => {
    const folder = join(SCRATCH, version, type);

    beforeAll(async () => {
      const { code, output } = await run(process.execPath, [tsc, '-p', folder], folder);
      expect({ code, output }).toEqual({ code: 0, output: '' });
    });

    it('renders to a string without a connection, and in a document with one', async () => {
      const flags = ['--disable-warning=ExperimentalWarning'];
      const { code, output } = await run(process.execPath, [...flags, 'page.js'], folder, { env: { JSDOM } });
      expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^\{.*\}\n$/) });
      expect(JSON.parse(output)).toEqual({
        version: expect.stringMatching(`^${version.replace('react-', '')}\\.`),
        html: '<p>connecting 0</p>',
        connections: 1,
      });
    });
  });
});
