export { keysFrom, NO_KEYS } from './keys.js';
