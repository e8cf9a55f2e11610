/** The keys of the app's log, as the engine documents them. */
export const EVENTS = '{sse:topics}:events';
export const META = '{sse:topics}:meta';
/** Of each append, with the epoch and the first sequence that it got. */
export const PUBLISH = '{sse:topics}:publish:';
