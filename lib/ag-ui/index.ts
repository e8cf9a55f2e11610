export { RunHttpAgent } from './run-http-agent.js';
export type { RunHttpAgentConfig } from './run-http-agent.js';
