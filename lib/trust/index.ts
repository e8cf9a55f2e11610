export { Revalidation } from './revalidation.js';
export type { RevalidationSettings } from './revalidation.js';
export { Revocations } from './revocations.js';
export { Tickets } from './tickets.js';
export type { TicketSettings } from './tickets.js';
export type { TicketContent } from './ticket-signer.js';
