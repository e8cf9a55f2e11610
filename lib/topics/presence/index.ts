export type { SsePresenceMember } from './known-members.js';
export { Presence } from './presence.js';
export type { SsePresenceChange, SsePresenceList } from './presence.js';
export { DEFAULT_PRESENCE } from './presence.settings.js';
export type { PresenceSettings } from './presence.settings.js';
