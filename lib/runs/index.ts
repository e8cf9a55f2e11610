export type { RunPlace } from './client/place.js';
export { checkRunId, checkRunOwner, runSettings } from './options.js';
export type { RunEnd, RunHandOver, RunSource, SseRunOptions } from './options.js';
export type { RunBegin, RunEndReason } from './record/records.js';
export type { RunState } from './record/state.js';
export { Runs } from './runs.js';
export type { RunsSettings } from './runs.js';
