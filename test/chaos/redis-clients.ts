import { Cluster, Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis-5';
import { createClient as createNodeRedis } from 'redis';
import { createClient as createNodeRedis5 } from 'redis-5';

interface Address {
  readonly host: string;
  readonly port: number;
}

/** How an instance reaches its Redis. */
export type Engine =
  | { readonly kind: 'url' | 'ioredis-5' | 'node-redis' | 'node-redis-5'; readonly port: number }
  | { readonly kind: 'sentinel'; readonly name: string; readonly sentinels: readonly Address[] }
  | { readonly kind: 'cluster'; readonly nodes: readonly Address[] };

/** What `redis()` is given: a client of one library or the other, of which it makes its own, or a URL. */
export function createClient(engine: Engine): { url: string } | { client: object } {
  switch (engine.kind) {
    case 'url':
      return { url: `redis://127.0.0.1:${engine.port}` };
    case 'ioredis-5':
      return { client: new Redis5({ port: engine.port, host: '127.0.0.1', lazyConnect: true }) };
    case 'node-redis':
      return { client: createNodeRedis({ url: `redis://127.0.0.1:${engine.port}` }) };
    case 'node-redis-5':
      return { client: createNodeRedis5({ url: `redis://127.0.0.1:${engine.port}` }) };
    case 'sentinel':
      return {
        client: new Redis({ name: engine.name, sentinels: [...engine.sentinels], lazyConnect: true }),
      };
    case 'cluster':
      return { client: new Cluster([...engine.nodes], { lazyConnect: true }) };
  }
}
