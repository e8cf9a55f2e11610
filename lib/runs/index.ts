export { toFormat } from './formats/index.js';
export type { StreamFormatName } from './formats/index.js';
export { checkRunId, checkRunOwner, runSettings } from './run.options.js';
export type { RunEnd, RunHandOver, RunSource, SseRunOptions } from './run.options.js';
export type { RunBegin, RunEndReason } from './run.records.js';
export type { RunPlace } from './run.place.js';
export type { RunState } from './run.state.js';
export { Runs } from './runs.js';
export type { RunsSettings } from './runs.js';
