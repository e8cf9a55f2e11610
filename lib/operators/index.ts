export { closeOn } from './close-on.js';
