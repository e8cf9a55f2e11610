import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { guideExample, replaceOnce } from '../suites/guide-blocks.js';
import { startRedis } from '../support/servers/redis-server.js';

// Within the repository: the example imports what is installed there.
const SCRATCH = fileURLToPath(new URL('../../.tmp/', import.meta.url));
const START = `
import { NestFactory } from '@nestjs/core';
const app = await NestFactory.create(AppModule, { logger: false });
await app.listen(0, '127.0.0.1');
console.log('listening on ' + app.getHttpServer().address().port);
await app.close();
console.log('closed');
`;

afterEach(endProcesses);

describe("the guide's first example with Redis", () => {
  it('leaves nothing behind that keeps the process alive after app.close()', async () => {
    const server = await startRedis();
    await mkdir(SCRATCH, { recursive: true });
    const folder = await mkdtemp(join(SCRATCH, 'readme-'));
    try {
      const example = replaceOnce(
        guideExample('log: redis({ client:'),
        'localhost:6379',
        `127.0.0.1:${server.port}`,
      );
      const script = join(folder, 'app.ts');
      await writeFile(script, `import { Module } from '@nestjs/common';\n${example}${START}`);

      const app = await AppProcess.start(pathToFileURL(script));
      await app.until(({ exitCode }) => exitCode !== undefined);

      expect(app.output).toContain('closed');
      expect(app.exitCode).toBe(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
      await server.stop();
    }
  });
});
