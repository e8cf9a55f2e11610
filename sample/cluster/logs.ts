import type { Fleet } from './fleet.js';
import { findPort } from './ports.js';
import { makeDatabase, OPTIONS, urlOf } from './postgres.js';
import { findProgram } from './programs.js';

/** Starts the server of the log if none is given, and returns what instances find it by. */
type StartLog = (
  fleet: Fleet,
  folder: string,
) => Promise<Record<string, string>>;

const { POSTGRES_URL, REDIS_URL } = process.env;

/** @param name - what was given as `--log` */
export function chooseLog(name: string): StartLog {
  switch (name) {
    case 'redis':
      return onRedis();
    case 'postgres':
      return onPostgres();
    default:
      throw new Error(`--log must be redis or postgres, got ${name}.`);
  }
}

// An instance takes the log whose URL it has: the other one is left empty.
function onRedis(): StartLog {
  if (REDIS_URL) {
    return async () => ({ REDIS_URL, POSTGRES_URL: '' });
  }
  const command = findProgram('redis-server');
  return async (fleet, folder) => {
    const port = await findPort();
    await fleet.start({
      name: 'Redis',
      command,
      args: [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--save',
        '',
        '--appendonly',
        'no',
      ],
      port,
    });
    return { REDIS_URL: `redis://127.0.0.1:${port}`, POSTGRES_URL: '' };
  };
}

function onPostgres(): StartLog {
  if (POSTGRES_URL) {
    return async () => ({ POSTGRES_URL, REDIS_URL: '' });
  }
  const command = findProgram('postgres');
  return async (fleet, folder) => {
    const { data, user } = await makeDatabase(command, folder);
    const port = await findPort();
    await fleet.start({
      name: 'PostgreSQL',
      command,
      args: ['-D', data, '-p', String(port), ...OPTIONS],
      user,
      cwd: data,
      port,
    });
    return { POSTGRES_URL: urlOf(port), REDIS_URL: '' };
  };
}
