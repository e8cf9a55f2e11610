export type { FollowCounts } from './follower-host.js';
export type { PublishOutcome } from './publish-counts.js';
export type { TopicTracer } from './topic-tracer.js';
export type { TopicEventsOptions, TopicGap } from './topic.options.js';
export type { ResetReason, TopicSettings } from './topic.settings.js';
export { Topics } from './topics.js';
export { DEFAULT_PRESENCE } from './presence/index.js';
export type {
  Presence,
  PresenceSettings,
  SsePresenceChange,
  SsePresenceList,
  SsePresenceMember,
} from './presence/index.js';
