/** Which run: its id, under its owner where it has one. */
export interface RunName {
  readonly id: string;
  readonly owner: string | undefined;
}

const OWNED = /^run-of:(\d+):/;

/**
 * The name of a run's log. Two owners' runs with one id are two runs, so the owner's length stands before it: no
 * owner and id can be joined to the name of another pair.
 */
export function nameOf(id: string, owner?: string): string {
  return owner === undefined ? `run:${id}` : `run-of:${owner.length}:${owner}:${id}`;
}

/** What {@link nameOf} has joined. */
export function partsOf(name: string): RunName {
  const [prefix, length] = OWNED.exec(name) ?? [];
  if (prefix === undefined) {
    return { id: name.slice('run:'.length), owner: undefined };
  }
  const end = prefix.length + Number(length);
  return { owner: name.slice(prefix.length, end), id: name.slice(end + 1) };
}
