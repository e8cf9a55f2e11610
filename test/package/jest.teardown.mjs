import { rmSync } from 'node:fs';

export default function teardown() {
  if (globalThis.packageScratch !== undefined) {
    rmSync(globalThis.packageScratch, { recursive: true, force: true });
  }
}
