// A run without an owner, and one of an owner, whose length stands before it.
const NAMES = ['run:', 'run-of:'];

export function isRunName(name: string): boolean {
  return NAMES.some((each) => name.startsWith(each));
}

/** The id of a run, by the name of its log. */
export function runIdOf(name: string): string {
  const [owned, length] = /^run-of:(\d+):/.exec(name) ?? [];
  return owned === undefined ? name.slice('run:'.length) : name.slice(owned.length + Number(length) + 1);
}
