/**
 * Whom a rule speaks of: `spiffeId`, `person`, `group`, `role`. What names several of these speaks only of whom all of it is so.
 *
 * Rule: patterns go by whole segments. The first segment (trust domain, identity provider, account) is always literal: `corp/*` is nobody of
 * `corporate`, and no pattern is of two providers.
 */
import { matchesSpiffePattern, type SpiffeId } from '../identity/spiffe.ts'
import type { Party, Principal } from './principal.ts'

export const subjectKeys = ['spiffeId', 'person', 'group', 'role'] as const
export type SubjectKey = (typeof subjectKeys)[number]

export type Subject = { readonly [Key in SubjectKey]?: string | undefined }

/** Whether one of the subjects is the party, or names the pair that it is of. */
export function namesParty(subjects: readonly Subject[], party: Party): boolean {
  return subjects.some((subject) => isOfParty(subject, party))
}

/** Those of the subjects. */
export function subjectsOf(subjects: readonly Subject[], party: Party): readonly Subject[] {
  return subjects.filter((subject) => isOfParty(subject, party))
}

/** One of the subjects names the pair that the party is of. */
export function namesPair(subjects: readonly Subject[], { pair }: Party): boolean {
  return pair !== undefined && subjects.some((subject) => isOfPair(subject, pair))
}

function isOfParty(subject: Subject, { who, pair }: Party): boolean {
  return isOf(subject, who) || (pair !== undefined && isOfPair(subject, pair))
}

/** All that the subject names is so. */
function isOf({ spiffeId, person, group, role }: Subject, who: Principal): boolean {
  if (spiffeId !== undefined && !matchesSpiffePattern(spiffeId, who.spiffeId)) return false
  if (person !== undefined && (who.person === undefined || !matchesName(person, who.person))) return false
  if (group !== undefined && who.groups?.some((one) => matchesName(group, one)) !== true) return false
  return role === undefined || (who.role !== undefined && matchesRole(role, who.role))
}

/** The subject says something of the workload and something of the person, and all of it is so. */
function isOfPair(subject: Subject, pair: Principal): boolean {
  return isPair(subject) && isOf(subject, pair)
}

/** It names a workload and a person together. */
export function isPair({ spiffeId, person, group, role }: Subject): boolean {
  return (spiffeId !== undefined || role !== undefined) && (person !== undefined || group !== undefined)
}

/** Whether a subject includes another of which it says all: by equal names, or by a pattern that includes the other's. */
export function includesSubject(wide: Subject, narrow: Subject): boolean {
  const { spiffeId, person, group, role } = wide
  // Who is one of a pair is not thereby the pair.
  if (isPair(wide) !== isPair(narrow)) return false
  const includes = (
    given: string | undefined,
    other: string | undefined,
    matches: (pattern: string, name: string) => boolean,
  ): boolean => given === undefined || (other !== undefined && (given === other || matches(given, other)))
  return (
    includes(spiffeId, narrow.spiffeId, (pattern, id) => matchesSpiffePattern(pattern, id as SpiffeId)) &&
    includes(person, narrow.person, matchesName) &&
    includes(group, narrow.group, matchesName) &&
    includes(role, narrow.role, matchesRole)
  )
}

/** A pattern of persons or groups, `<identity provider>/<name>`; a last segment `*` takes one or more. */
export function matchesName(pattern: string, name: string): boolean {
  if (!pattern.includes('*')) return pattern === name
  const wanted = pattern.split('/')
  const given = name.split('/')
  const last = wanted.length - 1
  for (let i = 0; i < last; i++) {
    if (given[i] === undefined || (wanted[i] !== given[i] && (wanted[i] !== '*' || i === 0))) return false
  }
  if (wanted[last] !== '*' || last === 0) return given.length === wanted.length && wanted[last] === given[last]
  // A name ends in something.
  return given.length >= wanted.length && given.at(-1) !== ''
}

/** A pattern of roles: an ARN, whose name may be `*`. */
export function matchesRole(pattern: string, role: string): boolean {
  if (!pattern.endsWith('/*')) return pattern === role
  const beginning = pattern.slice(0, -1)
  return role.startsWith(beginning) && role.length > beginning.length && !role.includes('/', beginning.length)
}
