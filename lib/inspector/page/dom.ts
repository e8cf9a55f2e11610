/** Elements of the page. Text comes from clients and topics: it is set as text alone, never as markup. */

/** Returns an element of the page. @throws Error if it is not there, or of another kind */
export function find(id: string): HTMLElement;
export function find<E extends HTMLElement>(id: string, kind: new () => E): E;
export function find(id: string, kind: new () => HTMLElement = HTMLElement): HTMLElement {
  const element = document.getElementById(id);
  if (element instanceof kind) {
    return element;
  }
  throw new Error(`The page has no element ${id}.`);
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text = '',
  className = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className !== '') {
    element.className = className;
  }
  return element;
}

/** Sets a text if it is another: what a screen reader or a selection is at stays as it is. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
