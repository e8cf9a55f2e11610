export type { RunPlace } from './client/index.js';
export { checkRunId, checkRunOwner, startSettings } from './options.js';
export type { RunEnd, RunHandOver, RunSource, SseRunOptions } from './options.js';
export type { RunBegin, RunEndReason, RunState } from './record/index.js';
export type { RunTracer } from './run-tracer.js';
export { Runs } from './runs.js';
export type { RunsSettings } from './runs.js';
