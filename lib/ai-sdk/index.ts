export type { ChatRequestInfo, PreparedChatRequest } from './chat-requests.js';
export { RunChatTransport } from './run-chat-transport.js';
export type { RunChatTransportOptions } from './run-chat-transport.js';
