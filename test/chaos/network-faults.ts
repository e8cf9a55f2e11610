import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Direction, FaultProxy } from '../support/faults/fault-proxy.js';
import type { Fault } from './ground.js';

/** Longer than instances wait for a publish. */
const LONG_MS = 2_500;
const DEADLINE = { timeoutMs: 20_000 };

/**
 * What happens between the instances and their engine.
 *
 * @param proxies - the proxy of each instance
 */
export function networkFaults(proxies: () => readonly FaultProxy[]): Readonly<Record<string, Fault>> {
  return {
    'the network delays': async ({ random }) => {
      proxies().forEach((proxy) => (proxy.delayMs = random.between(20, 150)));
      await pause(1_000);
      proxies().forEach((proxy) => (proxy.delayMs = 0));
    },
    'the network drops connections': async ({ random }) => {
      for (let times = 0; times < 5; times += 1) {
        random.pick(proxies()).drop();
        await pause(random.between(20, 200));
      }
    },
    'the network swallows everything': async ({ random }) => {
      const proxy = random.pick(proxies());
      proxy.blackHole(random.pick<Direction>(['to server', 'to client', 'both']));
      await pause(LONG_MS);
      proxy.heal();
    },
    'the network refuses connections': async () => {
      proxies().forEach((proxy) => proxy.refuse());
      proxies().forEach((proxy) => proxy.drop());
      await pause(500);
      await Promise.all(proxies().map((proxy) => proxy.accept()));
    },
  };
}

/**
 * Lets an engine append, and the instance get no answer.
 *
 * @param isAppend - whether what an instance sends, as latin1, is an append
 */
export async function loseAnswer(
  proxy: FaultProxy,
  isAppend: (request: string) => boolean,
  then: 'cut' | 'black hole',
): Promise<void> {
  const before = proxy.connectionsEver;
  let isSwallowed = false;
  void proxy.swallowReply(isAppend, then).then(() => (isSwallowed = true));
  await waitFor(() => isSwallowed, { ...DEADLINE, describe: 'an append whose answer is lost' });
  if (then === 'cut') {
    return;
  }
  // The instance gives that connection up.
  await waitFor(() => proxy.connectionsEver > before, DEADLINE);
  await pause(100);
  proxy.heal();
}

/** Says which instances have more connections to their engine than they may, after a while. */
export async function connectionsLeft(proxies: readonly FaultProxy[], most: number): Promise<string[]> {
  const counts = () => proxies.map(({ connections }) => connections);
  const isFew = () => counts().every((count) => count <= most);
  const failed = await waitFor(isFew, DEADLINE).then(
    () => false,
    () => true,
  );
  return failed ? [`Instances have ${counts().join(', ')} connections to their engine, of ${most}.`] : [];
}
