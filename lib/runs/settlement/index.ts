export { RunCaretaker } from './caretaker.js';
