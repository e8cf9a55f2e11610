export type { FollowCounts } from './follower-host.js';
export type { TopicEventsOptions, TopicGap } from './topic.options.js';
export type { ResetReason, TopicSettings } from './topic.settings.js';
export { Topics } from './topics.js';
