import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { run } from '../suites/npm-ci.mjs';
import { guideExample, guideModule, replaceOnce } from '../suites/guide-blocks.js';
import { SCRATCH } from './scratch.js';

const fromRoot = (path: string) => fileURLToPath(new URL(`../../node_modules/${path}`, import.meta.url));

function jestConfig(version: string, type: 'commonjs' | 'es6'): string {
  return JSON.stringify({
    rootDir: join(SCRATCH, version, 'runners'),
    testEnvironment: 'node',
    ...(type === 'es6' && { extensionsToTreatAsEsm: ['.ts'] }),
    transform: {
      '^.+\\.ts$': [
        fromRoot('@swc/jest/index.js'),
        {
          jsc: {
            target: 'es2022',
            parser: { syntax: 'typescript', decorators: true },
            transform: { legacyDecorator: true, decoratorMetadata: true },
          },
          module: { type },
        },
      ],
    },
  });
}

/** What a test runner says when its one test has passed; the whole output where it says anything else. */
function verdict({ code, output }: { code: number | null; output: string }): string {
  return code === 0 && /Tests:? +1 passed/.test(output) ? '1 passed' : output;
}

describe('a Nest application under test with the packed tarball', () => {
  it.each(['nest-11.1.18', 'nest-11.2.10'])('works in the default mode of jest on %s', async (version) => {
    const args = [fromRoot('jest/bin/jest.js'), '--config', jestConfig(version, 'commonjs')];
    const env = { REQUIRE_TOO: '1' };
    expect(verdict(await run(process.execPath, args, join(SCRATCH, version, 'runners'), { env }))).toBe(
      '1 passed',
    );
  });

  // Without REQUIRE_TOO: before Node 24.9, jest gives require() the CommonJS build, whatever was imported.
  it.each(['nest-11.2.10', 'nest-12.5.1'])('works in the ESM mode of jest on %s', async (version) => {
    const args = [fromRoot('jest/bin/jest.js'), '--config', jestConfig(version, 'es6')];
    const flags = ['--experimental-vm-modules', '--no-warnings'];
    expect(verdict(await run(process.execPath, [...flags, ...args], join(SCRATCH, version, 'runners')))).toBe(
      '1 passed',
    );
  });

  it.each(['nest-11.2.10', 'nest-12.5.1'])('works in vitest on %s', async (version) => {
    const args = [join(SCRATCH, version, 'node_modules/vitest/vitest.mjs'), 'run', '--globals'];
    const env = { NO_COLOR: '1', CI: 'true', REQUIRE_TOO: '1' };
    expect(verdict(await run(process.execPath, args, join(SCRATCH, version, 'runners'), { env }))).toBe(
      '1 passed',
    );
  });
});

describe("the guide's example, in the set-up that stands under it,", () => {
  const example = guideModule("it('sends the status of an order'");

  async function folderOf(version: string, runner: string, files: Record<string, string>): Promise<string> {
    const folder = join(SCRATCH, version, `readme-${runner}`);
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(folder, name), text);
    }
    return folder;
  }

  it.each(['nest-11.2.10', 'nest-12.5.1'])('works in jest on %s', async (version) => {
    // It is not installed beside each version of Nest.
    const config = replaceOnce(
      guideExample('extensionsToTreatAsEsm'),
      "'@swc/jest'",
      JSON.stringify(fromRoot('@swc/jest/index.js')),
    );
    const folder = await folderOf(version, 'jest', {
      'jest.config.mjs': config,
      'orders.spec.ts': example,
      'package.json': '{ "type": "module" }',
    });
    const env = { NODE_OPTIONS: '--experimental-vm-modules --no-warnings' };
    expect(verdict(await run(process.execPath, [fromRoot('jest/bin/jest.js')], folder, { env }))).toBe(
      '1 passed',
    );
  });

  it.each(['nest-11.2.10', 'nest-12.5.1'])('works in vitest on %s', async (version) => {
    const folder = await folderOf(version, 'vitest', {
      'vitest.config.mjs': guideExample('vitest/config'),
      'orders.spec.ts': replaceOnce(example, "'@jest/globals'", "'vitest'"),
    });
    const args = [join(SCRATCH, version, 'node_modules/vitest/vitest.mjs'), 'run'];
    const env = { NO_COLOR: '1', CI: 'true' };
    expect(verdict(await run(process.execPath, args, folder, { env }))).toBe('1 passed');
  });
});
