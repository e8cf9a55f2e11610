export { acceptsGzip } from './accept-encoding.js';
export { blocksOf, compressFrames, GZIP_HEAD } from './blocks.js';
