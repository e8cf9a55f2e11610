export { toFormat } from './formats/index.js';
export type { StreamFormatName } from './formats/index.js';
