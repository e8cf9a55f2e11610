export { Revocations } from './revocations.js';
export { Tickets } from './tickets.js';
export type { TicketOutcome, TicketSettings } from './tickets.js';
export type { TicketContent } from './ticket-signer.js';
