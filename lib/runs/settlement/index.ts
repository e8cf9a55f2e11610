export { RunCaretaker } from './caretaker.js';
export type { OwnEnd } from './caretaker.js';
