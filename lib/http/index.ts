export { onceAnswered, tellStreamOpen } from './answered.js';
export { watchAnswer } from './async-answer.js';
export { announceCoding, isWriteWrapped } from './content-coding.js';
export type { ContentCoding } from './content-coding.js';
export { whenEnded } from './ending.js';
export { exchangeOf } from './exchange.js';
export type { RequestOrResponse } from './exchange.js';
export { commitHeaders, compactHead, setReadableHeader } from './headers.js';
export {
  canBeCut,
  destroyCarrier,
  destroyResponse,
  isGone,
  isResponse,
  needsDrain,
  sentContentType,
  spareFromIdleTimeout,
  toPlatform,
  waitsForSocket,
  wasFinished,
} from './platform.js';
export type { Platform, RawResponse } from './platform.js';
export { ServerSockets } from './server-sockets.js';
export {
  coverResponse,
  endUnderOurs,
  guardOf,
  isNodeWrite,
  removeGuard,
  setGuard,
  uncoverResponse,
  writeUnderOurs,
} from './covers.js';
export type { AnswerGuard, Covered } from './covers.js';
