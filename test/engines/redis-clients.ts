import { Redis as IoRedis } from 'ioredis';
import { Redis as IoRedis5 } from 'ioredis-5';
import { createClient } from 'redis';
import { createClient as createClient5 } from 'redis-5';

/** Clients of each library that `redis()` takes, none of them connected. */
export const redisClients: Record<string, (url: string) => object> = {
  'ioredis 6': (url) => new IoRedis(url, { lazyConnect: true }),
  'ioredis 5': (url) => new IoRedis5(url, { lazyConnect: true }),
  'node-redis 6': (url) => createClient({ url }),
  'node-redis 5': (url) => createClient5({ url }),
};
