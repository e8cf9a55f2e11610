/** Redis for a benchmark, and what it says of itself. */
import { startServer } from '../processes.mjs';

/**
 * Runs a task with a Redis of its own.
 *
 * @template T
 * @param {(path: string) => Promise<any>} load
 * @param {(redis: any) => Promise<T>} task
 * @returns {Promise<T>}
 */
export async function withRedis(load, task) {
  const { startRedis } = await load('redis-server.js');
  const redis = await startRedis();
  try {
    return await task(redis);
  } finally {
    await redis.stop();
  }
}

/**
 * An instance of an app whose log is on a Redis.
 *
 * @returns {Promise<any>}
 */
export function startInstance({ apps, redis, layout = {}, options = {}, log = {} }) {
  return startServer(apps[12].nest, {
    adapter: 'Fastify',
    module: true,
    routes: ['connect-follow'],
    options,
    redis: { url: redis.url, ...log },
    ...layout,
  });
}

/** The scripts of the package, by name. */
export async function scriptsOf(load) {
  return load('node_modules/nestjs-event-stream/dist/esm/engines/redis/scripts.js');
}

/** CPU time of the server, all threads, in microseconds. */
export async function cpuOf(redis) {
  const { used_cpu_user: user, used_cpu_sys: system } = await redis.info('cpu');
  return (Number(user) + Number(system)) * 1_000_000;
}

export function thousands(value) {
  return Math.round(value).toLocaleString('en');
}
