import { readFileSync } from 'node:fs';

/** The arguments of a Redis that knows a user with the rights that the guide names, and no further ones. */
export const guideUserArguments: readonly string[] = [
  '--user',
  'app',
  'on',
  '>secret',
  '~{sse:*',
  '-@all',
  ...rulesOfTheGuide(),
];

/** The URL at which this user connects. */
export const urlOfGuideUser = (port: number) => `redis://app:secret@127.0.0.1:${port}`;

function rulesOfTheGuide(): string[] {
  const guide = readFileSync(new URL('../../lib/engines/redis/README.md', import.meta.url), 'utf8');
  const line = /^The user of the connection needs .*$/m.exec(guide)![0];
  return Array.from(line.matchAll(/`([A-Z]+)(?: ([A-Z]+))?`/g), ([, command, part]) =>
    (part === undefined ? `+${command}` : `+${command}|${part}`).toLowerCase(),
  );
}
