export type { FollowCounts } from './follower.js';
export { topicMatches } from './topic-matches.js';
export { topic } from './topic-name.js';
export type { TopicEventsOptions, TopicGap } from './topic.options.js';
export type { ResetReason, TopicSettings } from './topic.settings.js';
export { Topics } from './topics.js';
export { defineTopic, TopicFamily, TypedTopic } from './typed-topic.js';
export type { TopicEvents } from './typed-topic.js';
