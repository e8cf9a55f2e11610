import { setTimeout as pause } from 'node:timers/promises';
import { INSTANCES, LIMITS } from './chaos.js';
import type { Fault } from './ground.js';

const STALL_MS = 2_500;
/** Clients that miss more than is replayed. */
const AWAY = 5;
const HOUR_MS = 3_600_000;

/** What happens to the instances of an app, whatever stands behind them. */
export const INSTANCE_FAULTS: Readonly<Record<string, Fault>> = {
  'an instance is killed': async (stage) => {
    const slot = stage.random.between(0, stage.serving.length - 1);
    await stage.kill(stage.serving[slot]!);
    await stage.start(slot);
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
    for (const version of ['other', 'this'] as const) {
      const old = [...stage.serving];
      for (let slot = 0; slot < INSTANCES; slot += 1) {
        // Of the way there, one that both versions serve on is enough.
        if (version === 'other' && slot > 0) break;
        await stage.start(slot, version);
        await stage.close(old[slot]!);
      }
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
