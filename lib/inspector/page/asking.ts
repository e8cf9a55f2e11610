import { find, setText } from './dom.js';

/** What is asked before something is done to clients. */
export interface Question {
  readonly question: string;
  readonly consequence: string;
  readonly yes: string;
}

/** Asks, and tells what has become of it. */
export class Asking {
  readonly #dialog = find('dialog', HTMLDialogElement);
  readonly #said = find('said');
  #act: (() => Promise<string>) | undefined;

  constructor() {
    find('no').addEventListener('click', () => this.#dialog.close());
    find('yes').addEventListener('click', () => {
      const act = this.#act;
      this.#dialog.close();
      if (act) {
        void this.run(act);
      }
    });
    this.#dialog.addEventListener('close', () => (this.#act = undefined));
  }

  /** Asks, and acts if the answer is yes. @param act - returns what to say when it is done */
  ask({ question, consequence, yes }: Question, act: () => Promise<string>): void {
    setText(find('question'), question);
    setText(find('consequence'), consequence);
    setText(find('yes'), yes);
    this.#act = act;
    this.#dialog.showModal();
    // Enter at once does nothing to anybody.
    find('no').focus();
  }

  /** Acts, and says what has become of it. */
  async run(act: () => Promise<string>): Promise<void> {
    try {
      this.#say(await act(), 'good');
    } catch (error) {
      this.#say(error instanceof Error ? error.message : String(error), 'bad');
    }
  }

  #say(text: string, kind: 'good' | 'bad'): void {
    this.#said.dataset['kind'] = kind;
    setText(this.#said, text);
  }
}
