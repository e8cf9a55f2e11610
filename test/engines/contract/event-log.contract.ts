import { afterEach, beforeEach } from '@jest/globals';
import type { EventLog, EventLogStore } from '../../../lib/log/index.js';
import { append } from './append.js';
import { page } from './page.js';
import { headAndEpoch } from './head-and-epoch.js';
import { follow } from './follow.js';
import { open } from './open.js';
import { openWithALease } from './open-with-a-lease.js';
import { find } from './find.js';
import { lease } from './lease.js';
import { claim } from './claim.js';
import { notices } from './notices.js';
import { close } from './close.js';
import type { Contract, LogEngineDriver } from './contract.js';

/**
 * Describes what each `EventLogStore` guarantees, whatever its engine.
 *
 * @example describe('memory(), as any log', () => eventLogContract({ start, pass, ttlMs: 1_000, mostOfTen: 10 }));
 */
export function eventLogContract(driver: LogEngineDriver): void {
  const contract = { driver } as {
    driver: LogEngineDriver;
    store: EventLogStore;
    peer: EventLogStore;
    log: EventLog;
  };

  beforeEach(async () => {
    const { store, peer } = await driver.start();
    Object.assign(contract, { store, peer, log: store.log });
  });

  afterEach(async () => {
    await contract.store.close();
    await contract.peer.close();
    await driver.stop?.();
  });

  const chapters: readonly ((contract: Contract) => void)[] = [
    append,
    page,
    headAndEpoch,
    follow,
    open,
    openWithALease,
    find,
    lease,
    claim,
    notices,
    close,
  ];
  chapters.forEach((chapter) => chapter(contract));
}
