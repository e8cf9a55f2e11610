/**
 * The seed of the suites: each run of them makes the same choices, so that none fails on a new one. `npm run chaos` and
 * `npm run stress` draw one of their own. What processes do at the same time differs from run to run all the same.
 */
const SEED_OF_SUITES = 294_162;

/** @param variable - the name of the environment variable that sets it */
export function seedOf(variable: 'CHAOS_SEED' | 'STRESS_SEED'): number {
  return Number(process.env[variable] ?? SEED_OF_SUITES);
}
