export { acceptsGzip } from './accept-encoding.js';
export { blocksOf, compressFrames, GZIP_HEAD } from './blocks.js';
export { SharedStreams } from './shared-stream.js';
export type { SharedFrames, SharedStream, SharedStreamMember } from './shared-stream.js';
