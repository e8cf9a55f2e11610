/** What a run costs and holds: beside a bare loop, and beside resumable-stream. */
import { overheadItems } from './runs/overhead.mjs';

export const title = 'Runs';

/** What it measures, each by a name of its own. */
export const items = { ...overheadItems };
