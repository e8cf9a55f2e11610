'use client';

export { SseProvider, useSseClient } from './provider.js';
export type { SseProviderProps } from './provider.js';
export { useFollow } from './use-follow.js';
export type { ReadFollowState, UseFollowOptions, UseFollowResult } from './use-follow.types.js';
export { useRun } from './use-run.js';
export type { UseRunOptions, UseRunRequest, UseRunResult, UseRunTarget } from './use-run.types.js';
