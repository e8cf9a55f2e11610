export type { FollowCounts } from './follower.js';
export { topic } from './topic-name.js';
export type { ResetReason, TopicSettings } from './topic.settings.js';
export { Topics } from './topics.js';
