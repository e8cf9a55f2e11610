export { closeOn } from './close-on.js';
export type { RequestOrResponse } from './exchange.js';
