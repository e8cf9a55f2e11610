import type { Inspection } from '../sse.inspection.js';
import { listMaker } from './lists.js';
import type { ListPart, ListQuery } from './protocol.js';

// About 4 ms. Between two slices the process serves its clients.
const SLICE = 1_000;

/**
 * Makes the lists of this process that are asked for, in one pass over its connections and runs.
 *
 * @param queries - by any name
 * @param instance - the id of this instance
 * @returns the lists, by the same names
 */
export async function scan(
  inspection: Pick<Inspection, 'connections' | 'runs'>,
  queries: ReadonlyMap<string, ListQuery>,
  instance: string,
): Promise<Map<string, ListPart>> {
  const makers = Array.from(queries, ([name, query]) => ({ name, maker: listMaker(query, instance) }));
  if (makers.length > 0) {
    let count = 0;
    for (const connection of inspection.connections()) {
      makers.forEach(({ maker }) => maker.addConnection(connection));
      count += 1;
      if (count % SLICE === 0) {
        await new Promise(setImmediate);
      }
    }
    for (const run of inspection.runs()) {
      makers.forEach(({ maker }) => maker.addRun(run));
    }
  }
  return new Map(makers.map(({ name, maker }) => [name, maker.make()]));
}
