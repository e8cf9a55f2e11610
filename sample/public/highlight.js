const TOKENS = new RegExp(
  [
    '(?<comment>//.*|/\\*[^]*?\\*/)',
    "(?<string>'[^'\\n]*'|`[^`]*`)",
    '(?<decorator>@[A-Z]\\w*)',
    '(?<keyword>\\b(?:async|await|const|for|function|if|let|new|private|return|this|yield)\\b)',
    '(?<number>\\b\\d+\\b)',
  ].join('|'),
  'g',
);

/**
 * The code as nodes, with a `<span>` of the token's name around what a colour
 * helps to find. Text goes in as text: nothing in the code can become markup.
 *
 * @param {string} code
 * @returns {(string | HTMLSpanElement)[]}
 */
export function highlight(code) {
  const nodes = [];
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    const [token] = Object.entries(match.groups).find(([, text]) => text);
    const span = document.createElement('span');
    span.className = token;
    span.textContent = match[0];
    nodes.push(code.slice(end, match.index), span);
    end = match.index + match[0].length;
  }
  return [...nodes, code.slice(end)];
}
