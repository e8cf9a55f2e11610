import { MAX_TEXT } from './protocol.js';

/** The texts of rows: found by a filter, put in order, and cut to what is shown. */

/** Returns a check whether one of some texts has the filter in it. The texts are asked for only if there is one. */
export function matcherOf(filter: string): (texts: () => readonly string[]) => boolean {
  const wanted = filter.toLowerCase();
  return (texts) => wanted === '' || texts().some((text) => text.toLowerCase().includes(wanted));
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

export function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
