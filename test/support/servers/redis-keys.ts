/** The keys of the app's log, as the engine documents them. */
export const EVENTS = '{sse:topics}:events';
export const META = '{sse:topics}:meta';
