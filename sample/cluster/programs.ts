import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

// Debian keeps servers where an ordinary user's PATH does not look.
const FOLDERS = [
  ...(process.env.PATH ?? '').split(delimiter),
  '/usr/sbin',
  '/usr/local/sbin',
  ...versionsIn('/usr/lib/postgresql'),
];
const PROGRAMS = {
  'redis-server': {
    names: ['redis-server', 'valkey-server'],
    install: 'apt-get install redis-server, or brew install redis',
    otherwise: ' Or set REDIS_URL to a Redis that runs somewhere.',
  },
  postgres: {
    names: ['postgres'],
    install: 'apt-get install postgresql, or brew install postgresql',
    otherwise: ' Or set POSTGRES_URL to a PostgreSQL that runs somewhere.',
  },
  nginx: {
    names: ['nginx'],
    install: 'apt-get install nginx, or brew install nginx',
    otherwise: '',
  },
};

/** The path of a program that is installed. */
export function findProgram(program: keyof typeof PROGRAMS): string {
  const { names, install, otherwise } = PROGRAMS[program];
  const found = names
    .flatMap((name) => FOLDERS.map((folder) => join(folder, name)))
    .find(isExecutable);
  if (found) {
    return found;
  }
  throw new Error(
    `There is no ${program} on this machine, and several instances need one. Install it: ${install}.${otherwise}`,
  );
}

/** The folders of programs of which several versions are installed side by side, the newest first. */
function versionsIn(folder: string): string[] {
  if (!existsSync(folder)) {
    return [];
  }
  return readdirSync(folder)
    .map(Number)
    .filter(Boolean)
    .sort((a, b) => b - a)
    .map((version) => join(folder, String(version), 'bin'));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not here: there are other folders.
    return false;
  }
}
