export { closingEvents, framesOfRefusal, SHUTDOWN_FAILURE } from './closing-frames.js';
export { eventsOf } from './format.js';
export type { FormatEvents, StreamFailure, StreamFormat } from './format.js';
export { toFormat } from './formats/index.js';
export type { StreamFormatName } from './formats/index.js';
export { consume, isPullable, releaseSource } from './source.js';
export type { ItemConsumer, ItemSink, StreamItems } from './source.js';
export { FIRST_BYTE_MS, streamTo } from './stream.js';
export type { PublicError, StreamEnd, StreamSource } from './stream.js';
