import { execFile } from 'node:child_process';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** The user that runs a program. */
interface User {
  uid: number;
  gid: number;
}

const run = promisify(execFile);
const OWNER = 'sample';

/** For `postgres`, beside the folder of its data and its port. */
export const OPTIONS = Object.entries({
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // It outlives its processes, not the machine.
  fsync: 'off',
  // One that is killed leaves none of the machine's memory behind.
  dynamic_shared_memory_type: 'mmap',
}).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

/**
 * Makes the files of an empty database, which every user of this machine may
 * open. PostgreSQL refuses to run as root: then they are those of `nobody`.
 *
 * @param command - the path of `postgres`
 * @param folder - where they go, into a folder of their own
 */
export async function makeDatabase(
  command: string,
  folder: string,
): Promise<{ data: string; user?: User }> {
  const data = join(folder, 'postgres');
  await mkdir(data, { mode: 0o700 });
  const user = process.getuid?.() === 0 ? await nobody() : undefined;
  if (user) {
    await chown(data, user.uid, user.gid);
    // That user can enter its own folder, and cannot list this one.
    await chmod(folder, 0o711);
  }
  await run(
    join(dirname(command), 'initdb'),
    [
      '-D',
      data,
      '-U',
      OWNER,
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
    ],
    { cwd: data, ...user },
  );
  return { data, user };
}

export function urlOf(port: number): string {
  return `postgres://${OWNER}@127.0.0.1:${port}/postgres`;
}

async function nobody(): Promise<User> {
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) =>
      Number((await run('id', [flag, 'nobody'])).stdout),
    ),
  );
  return { uid, gid };
}
