/** What a run costs and holds: beside a bare loop, and beside resumable-stream. */
import { lossItems } from './runs/loss.mjs';
import { overheadItems } from './runs/overhead.mjs';
import { resumeItems } from './runs/resume.mjs';
import { tokenItems } from './runs/tokens.mjs';

export const title = 'Runs';

/** What it measures, each by a name of its own. */
export const items = { ...overheadItems, ...tokenItems, ...resumeItems, ...lossItems };
