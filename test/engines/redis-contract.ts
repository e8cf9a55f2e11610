import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe } from '@jest/globals';
import { redis } from 'nestjs-event-stream/redis';
import { eventLogContract } from './contract/event-log.contract.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { redisClients } from './redis-clients.js';
import { guideUserArguments, urlOfGuideUser } from './redis-guide-user.js';

/** Holds logs that are read and written through one client library to what every log keeps to. */
export function redisContract(library: keyof typeof redisClients): void {
  describe(`redis() by ${library}, as any log`, () => {
    let server: RedisServer;
    let logs = 0;

    beforeAll(async () => {
      server = await startRedis({ arguments: guideUserArguments });
    });
    afterAll(() => server.stop());

    eventLogContract({
      start: async () => {
        logs += 1;
        const factory = redis({
          client: redisClients[library]!(urlOfGuideUser(server.port)),
          log: `log-${logs}`,
        });
        return { store: factory(), peer: factory() };
      },
      held: async () => ((await server.command('KEYS', '*')) as string[]).sort(),
      pass: async (ms) => {
        await wait(ms);
      },
      ttlMs: 500,
      mostOfTen: 110,
    });
  });
}
