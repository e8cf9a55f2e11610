import type { LogEngineDriver } from './contract.js';

/**
 * Runs what has to come in time: `attempt` lets parts of the ttl pass, and does what it does before the ttl is over.
 * Where the machine stood still for too long, a failure shows nothing, and it is tried again under another name.
 */
export async function inTime(
  driver: LogEngineDriver,
  attempt: (name: string, pass: (part: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const started = performance.now();
    let meant = 0;
    const pass = async (part: number) => {
      meant += part * driver.ttlMs;
      await driver.pass(part * driver.ttlMs);
    };
    try {
      return await attempt(`in time ${tries}`, pass);
    } catch (error) {
      const lateMs = performance.now() - started - meant;
      if (lateMs < driver.ttlMs * 0.3 || tries === 5) {
        throw error;
      }
    }
  }
}
