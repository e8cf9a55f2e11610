/** How suites share the cores: in lanes, since much of a suite's time is waiting for servers, browsers and timers. */

/**
 * Runs `start(name)` for each name, in their order, as many at once as there are lanes. One whose `writes` name what a
 * running one writes waits for it, and lets those behind it go first.
 *
 * @template T
 * @param {string[]} names
 * @param {{ lanes: number, writesOf: (name: string) => string | undefined, start: (name: string) => Promise<T> }} options
 * @returns {Promise<T[]>} in the order of the names
 * @throws what `start` throws, when the others that were running have ended
 */
export async function runInLanes(names, { lanes, writesOf, start }) {
  const waiting = [...names];
  const running = new Map();
  const results = new Map();

  while (waiting.length > 0 || running.size > 0) {
    for (let name = nextOf(); name !== undefined; name = nextOf()) {
      waiting.splice(waiting.indexOf(name), 1);
      running.set(name, startOne(name));
    }
    await Promise.race(running.values());
  }
  return names.map((name) => results.get(name));

  function nextOf() {
    if (running.size >= lanes) {
      return undefined;
    }
    const written = new Set([...running.keys()].map(writesOf).filter((what) => what !== undefined));
    return waiting.find((name) => !written.has(writesOf(name)));
  }

  async function startOne(name) {
    results.set(name, await start(name));
    running.delete(name);
  }
}
