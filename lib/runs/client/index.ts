export { RunBatch } from './batch.js';
export { RunFollower } from './follower.js';
export type { ClosingFramesOfLoss, FollowedRun } from './follower.js';
export { findPlace, placeInView } from './place.js';
export type { PlaceWanted, RunPlace } from './place.js';
export { RunPresence } from './presence.js';
