/** What a kind of pushed value says of itself. `pushed.ts` lists the kinds. */
import type { z } from 'zod'
import { sha256Hex } from '../base/digest.ts'
import { readFitting } from './entries.ts'
import type { AgentRole } from './roles.ts'

/** A value as JSON has it: on the wire and on disk it stands in these fields. */
export type Fields = Record<string, unknown>

/** A value that was read. Entries of a list that are not understood are left out and counted. */
export type Reading<T> =
  | { readonly understood: true; readonly value: T; readonly skipped: number }
  | { readonly understood: false; readonly where: string | undefined }

/** What becomes of a value that was offered in the place of another, and what the log says of it. */
export interface Succession {
  readonly taken: boolean
  readonly message: string
  readonly fields: Fields
}

export interface PushedKind<T> {
  /** The `kind` of its line on the watch stream. */
  readonly name: string
  /** The control plane sends it to these only, and the agents of others refuse it. */
  readonly roles: readonly AgentRole[]
  /**
   * What a proxy keeps through a restart. `cache`: with the policy, under a checksum. `own`: the same, in a file of its own. `secret`: apart,
   * readable by its owner only, and never logged.
   */
  readonly kept: 'cache' | 'own' | 'secret' | 'no'
  /** A proxy that has none on disk waits for its first, five seconds at most, before it serves. */
  readonly awaited: boolean
  /** Before the first was received. */
  readonly empty: T
  /** It is a list in the field of its name; where it is too long for a line its last entries are left out. */
  readonly isList: boolean
  /** The value must survive a structured clone: that is how workers get it. */
  write(value: T): Fields
  read(fields: unknown): Reading<T>
  /** Another for every other value; a digest of its JSON, unless that would take long. */
  version(value: T): string
  /** Undefined: it is taken, and nothing is to be said. */
  succeed?(offered: T, inForce: T): Succession | undefined
}

type Description<T> = Pick<PushedKind<T>, 'name' | 'roles' | 'kept'> &
  Partial<Pick<PushedKind<T>, 'awaited' | 'succeed' | 'version'>>

/** A value of several fields. */
export function pushedValue<T extends object>(
  description: Description<T> & { readonly empty: T; readonly schema: z.ZodType<T> },
): PushedKind<T> {
  const { schema, awaited = false, ...rest } = description
  const write = (value: T): Fields => ({ ...value }) as Fields
  const read = (fields: unknown): Reading<T> => {
    const { success, data, error } = schema.safeParse(fields)
    return success
      ? { understood: true, value: data, skipped: 0 }
      : { understood: false, where: error.issues[0]?.path.join('.') }
  }
  return { version: versionBy(write), ...rest, awaited, isList: false, write, read }
}

/** A list. One entry that is not understood never costs the others. */
export function pushedList<T>(
  description: Description<readonly T[]> & {
    readonly entry: z.ZodType<T>
    readonly countMax: number
    /** The list in the order in which it is used; as it came where this is not given. */
    readonly ordered?: (entries: T[]) => T[]
    /** An entry as JSON; itself where this is not given. */
    readonly writeEntry?: (entry: T) => unknown
  },
): PushedKind<readonly T[]> {
  const { entry, countMax, ordered, writeEntry, awaited = false, ...rest } = description
  const { name } = description
  const write = (entries: readonly T[]): Fields => ({
    [name]: writeEntry === undefined ? entries : entries.map(writeEntry),
  })
  const read = (fields: unknown): Reading<readonly T[]> => {
    // No schema of its own: there are some seventy kinds, and each schema is some kilobytes.
    const found = readFitting(entry, countMax, (fields as Fields | null | undefined)?.[name])
    if (found === undefined) return { understood: false, where: name }
    return { understood: true, value: ordered?.(found.entries) ?? found.entries, skipped: found.skipped }
  }
  return { version: versionBy(write), ...rest, awaited, empty: [], isList: true, write, read }
}

function versionBy<T>(write: (value: T) => Fields): (value: T) => string {
  return (value) => sha256Hex(JSON.stringify(write(value)))
}
