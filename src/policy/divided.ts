/**
 * The rules that speak of one thing, in parts of which Cedar reads each in a few milliseconds: to parse a policy takes it a tenth of a
 * millisecond, and one that names thousands a hundred. Of those that name many, a part has only the names that can match.
 *
 * Rule: what all parts say together is what all rules say at once. A rule matches where one of its names does, so it may be divided by them.
 */
import type { Target } from './cedar/entities.ts'
import { matchesKeyspace, matchesName } from './names.ts'
import type { CompiledRule } from './policy.ts'

/** A rule as Cedar is asked about it. */
export interface AskedRule {
  readonly rule: CompiledRule
  /** The rule, or as much of it as can match. */
  readonly asked: CompiledRule
  /** What `asked` is; equal only for equal ones. */
  readonly key: string
}

/** Cedar policies in one part, those that name much counting as several. */
const policiesAPart = 16
/** A rule with more names is cut down to those that can match. */
export const namesWholeMax = 32

export function divide(speaking: readonly CompiledRule[], target: Target): readonly (readonly AskedRule[])[] {
  const parts: AskedRule[][] = []
  let part: AskedRule[] = []
  let weight = 0
  for (const rule of speaking) {
    for (const one of askedOf(rule, target)) {
      const more = weightOf(one.asked)
      if (part.length > 0 && weight + more > policiesAPart) {
        parts.push(part)
        part = []
        weight = 0
      }
      part.push(one)
      weight += more
    }
  }
  parts.push(part)
  return parts
}

function askedOf(rule: CompiledRule, target: Target): readonly AskedRule[] {
  const isLarge = namesOf(rule) > namesWholeMax
  const asked = isLarge ? cutDown(rule, target) : rule
  const key = isLarge
    ? JSON.stringify([rule.index, asked.keyspaces, asked.tables, asked.columns, asked.functions, asked.roles])
    : `${rule.index}`
  const addresses = rule.when?.clientAddresses ?? []
  if (addresses.length <= namesWholeMax) return [{ rule, asked, key }]
  const parts: AskedRule[] = []
  for (let from = 0; from < addresses.length; from += namesWholeMax) {
    const clientAddresses = addresses.slice(from, from + namesWholeMax)
    parts.push({ rule, asked: { ...asked, when: { ...rule.when!, clientAddresses } }, key: `${key}@${from}` })
  }
  return parts
}

/** Without the names that cannot match the target. A list that has none such keeps one, for no list means something else. */
function cutDown(rule: CompiledRule, target: Target): CompiledRule {
  const { keyspaces, tables, columns, functions, roles } = rule
  const inKeyspace = 'keyspace' in target ? (pattern: string) => matchesKeyspace([pattern], target.keyspace) : never
  const ofTable = 'table' in target ? (pattern: string) => matchesName(pattern, target.table) : never
  const ofColumn = 'column' in target ? (pattern: string) => matchesName(pattern, target.column) : never
  const ofFunction = (pattern: string): boolean =>
    target.kind === 'keyspace' || (target.kind === 'function' && matchesName(pattern, target.name))
  return {
    ...rule,
    keyspaces: keyspaces.filter(inKeyspace),
    tables: tables && some(tables, ofTable),
    columns: columns && some(columns, ofColumn),
    functions: functions.filter(({ keyspace, name }) => inKeyspace(keyspace) && ofFunction(name)),
    roles: target.kind === 'role' ? roles.filter((pattern) => matchesName(pattern, target.role)) : [],
  }
}

const never = (): boolean => false

function some(patterns: readonly string[], matches: (pattern: string) => boolean): readonly string[] {
  const found = patterns.filter(matches)
  return found.length > 0 ? found : patterns.slice(0, 1)
}

function namesOf({ keyspaces, tables, columns, functions, roles }: CompiledRule): number {
  return keyspaces.length + (tables?.length ?? 0) + (columns?.length ?? 0) + functions.length + roles.length
}

/** About how many policies of an ordinary rule take as long; see `compileRule`. */
function weightOf(rule: CompiledRule): number {
  const { effect, keyspaces, functions, roles, cluster, subjects, when } = rule
  const own = Number(keyspaces.length > 0) + Number(functions.length > 0) + Number(roles.length > 0) + Number(cluster)
  const names = namesOf(rule) + subjects.length + (when?.clientAddresses?.length ?? 0)
  return (own + (effect === 'allow' ? 1 : 2)) * (1 + Math.max(0, names - 8) / 4)
}
