import { setTimeout as pause } from 'node:timers/promises';
import { LIMITS } from './topics/chaos.js';
import type { Fault } from './ground.js';

const STALL_MS = 2_500;
/** Clients that miss more than is replayed. */
const AWAY = 5;
const HOUR_MS = 3_600_000;

/** What happens to the instances of an app, whatever stands behind them. */
export const INSTANCE_FAULTS: Readonly<Record<string, Fault>> = {
  'an instance is killed': async (stage) => {
    const instance = stage.random.pick(stage.serving);
    await stage.kill(instance);
    await stage.start(instance.slot);
  },
  'an instance stops until the log has moved past it': async (stage) => {
    const instance = stage.random.pick(stage.serving);
    instance.isServing = false;
    instance.pause();
    const bringBack = stage.sendAway(AWAY);
    await stage.burst(LIMITS.maxEvents * 1.2);
    bringBack();
    instance.resume();
    instance.isServing = true;
  },
  'an event loop stalls': async (stage) => {
    await stage.random.pick(stage.serving).stall(STALL_MS);
  },
  'a rolling deploy, of another version': async (stage) => {
    // Both versions serve at once, until all are of this one again.
    const other = stage.random.pick(stage.serving);
    await stage.start(other.slot, 'other');
    await stage.close(other);
    for (const old of stage.serving) {
      await stage.start(old.slot);
      await stage.close(old);
    }
  },
  'a crowd comes back at once': (stage) => stage.crowd(),
  'a clock jumps': async (stage) => {
    for (const instance of stage.serving) {
      await instance.setClock(stage.random.pick([-HOUR_MS, HOUR_MS]));
    }
    await pause(100);
  },
};
