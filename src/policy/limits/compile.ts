/** Documents → `RateLimitRule`s. A limit that could never do anything is a fault, because its author believes that it does something. */
import type { DocumentPath, ParsedDocument } from '../../base/document.ts'
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { Permission } from '../../cql/statement/facts.ts'
import { parseAddress } from '../address.ts'
import { checkSubjects, type Providers } from '../load/subjects.ts'
import { addressFault } from '../load/when.ts'
import { isSystemKeyspace } from '../names.ts'
import { operationGroups, permissions } from '../policy.ts'
import { includesSubject } from '../subjects.ts'
import type { RateLimitSpec } from './kinds.ts'
import type { AddressRange, Override, Rate, RateLimitRule } from './rules.ts'
import { type Scope, scopes } from './words.ts'

type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

const periodMicros = new Map([
  ['s', 1_000_000],
  ['m', 60_000_000],
  ['h', 3_600_000_000],
  ['d', 86_400_000_000],
])
const sizes = new Map([
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
])
const burstMicrosMax = 31 * 86_400_000_000
/** Drivers give a request up after 2 s at the soonest. */
const maxDelayMsMax = 2000
const maxDelayMsByDefault = 250
/** What needs no permission of its own beside the work that it prepares, or asks about names only. */
const uncounted: ReadonlySet<Permission> = new Set(['USE', 'DESCRIBE', 'UNMASK'])

export function compileRateLimits(
  documents: readonly ParsedDocument<RateLimitSpec>[],
  providers: Providers,
  fault: Fault,
): RateLimitRule[] {
  return documents.map((document) =>
    compileOne(document, providers, (path, message) => fault(document, ['spec', ...path], message)),
  )
}

function compileOne(
  { name, spec }: ParsedDocument<RateLimitSpec>,
  providers: Providers,
  fault: (path: DocumentPath, message: string) => void,
): RateLimitRule {
  for (const key of ['subjects', 'exceptSubjects'] as const) {
    checkSubjects(spec[key] ?? [], providers, (at, message) => fault([key, ...at], message))
  }
  const { subjects, exceptSubjects = [], overrides = [] } = spec
  if (subjects?.every((one) => exceptSubjects.some((wide) => includesSubject(wide, one))))
    fault(['exceptSubjects'], 'every subject is excepted, so the limit can never do anything')
  if (scopes.every((scope) => spec[scope] === undefined))
    fault([], `the policy limits nothing; add one of ${scopes.join(', ')}`)
  if (spec.mode === 'observe' && spec.maxDelay !== undefined)
    fault(['maxDelay'], 'mode observe delays nothing, so "maxDelay" can never do anything here')
  checkWhat(spec, fault)
  const rates: { [S in Scope]?: Rate } = {}
  for (const scope of scopes) {
    const text = spec[scope]
    if (text !== undefined) rates[scope] = rateOfText(text, spec, [scope], fault)
  }
  return {
    name,
    observe: spec.mode === 'observe',
    subjects,
    exceptSubjects,
    addresses: spec.clientAddresses?.flatMap((text, at) =>
      rangeOf(text, (message) => fault(['clientAddresses', at], message)),
    ),
    keyspaces: spec.keyspaces ?? ['*'],
    tables: spec.tables,
    permissions: new Set(permissionsOf(spec.operations)),
    statements: spec.statements?.map((text, at) => shapeOf(text, (message) => fault(['statements', at], message))),
    unit: spec.unit,
    rates,
    overrides: overrides.map((one, at) =>
      overrideOf(one, spec, providers, (path, message) => fault(['overrides', at, ...path], message)),
    ),
    maxDelayMs: delayOf(spec.maxDelay, fault),
  }
}

function checkWhat(spec: RateLimitSpec, fault: (path: DocumentPath, message: string) => void): void {
  if (spec.statements !== undefined) {
    for (const key of ['keyspaces', 'tables', 'operations'] as const) {
      if (spec[key] !== undefined)
        fault([key], `"statements" say what is limited, so "${key}" can never do anything here`)
    }
  }
  for (const [at, pattern] of spec.keyspaces?.entries() ?? []) {
    if (!pattern.endsWith('*') || !isSystemKeyspace(pattern.slice(0, -1))) continue
    fault(
      ['keyspaces', at],
      `${JSON.stringify(pattern)} can never match: a wildcard never includes system keyspaces; name each`,
    )
  }
  if (spec.tables !== undefined && spec.keyspaces === undefined)
    fault(['tables'], 'tables of which keyspaces? add keyspaces')
}

function permissionsOf(operations: RateLimitSpec['operations']): readonly Permission[] {
  if (operations === undefined) return permissions.filter((one) => !uncounted.has(one))
  return operations.flatMap((word) => operationGroups.get(word) ?? permissions.filter((one) => one === word))
}

function overrideOf(
  given: NonNullable<RateLimitSpec['overrides']>[number],
  spec: RateLimitSpec,
  providers: Providers,
  fault: (path: DocumentPath, message: string) => void,
): Override {
  checkSubjects(given.subjects, providers, (at, message) => fault(['subjects', ...at], message))
  if (given.perIdentity === undefined && given.perPerson === undefined)
    fault([], 'the override changes nothing; add perIdentity or perPerson')
  const of = (scope: 'perIdentity' | 'perPerson'): Rate | 'none' | undefined => {
    const text = given[scope]
    if (text === undefined) return undefined
    if (spec[scope] === undefined) fault([scope], `the policy has no ${scope}, so there is nothing to override`)
    return text === 'none' ? text : rateOfText(text, spec, [scope], fault)
  }
  return { subjects: given.subjects, perIdentity: of('perIdentity'), perPerson: of('perPerson') }
}

function rateOfText(
  text: string,
  { burst, unit }: RateLimitSpec,
  path: DocumentPath,
  fault: (path: DocumentPath, message: string) => void,
): Rate {
  const [, digits = '', size, period = 's'] = /^(\d+)(KiB|MiB|GiB)?\/([smhd])$/.exec(text) ?? []
  if (size !== undefined && unit !== 'bytes')
    fault(path, `${JSON.stringify(text)} is a rate of bytes, and the unit is ${unit}`)
  const of = periodMicros.get(period)!
  const intervalMicros = of / (Number(digits) * (size === undefined ? 1 : sizes.get(size)!))
  const burstMicros = burst === undefined ? of : microsOf(burst)
  if (burstMicros > burstMicrosMax) fault(['burst'], 'a burst is of at most 31d')
  if (burstMicros < intervalMicros)
    fault(['burst'], `${JSON.stringify(burst)} at ${text} is less than one unit, so nothing would ever go`)
  return { text, intervalMicros, burstMicros }
}

function delayOf(text: string | undefined, fault: (path: DocumentPath, message: string) => void): number {
  if (text === undefined) return maxDelayMsByDefault
  const ms = microsOf(text) / 1000
  if (ms > maxDelayMsMax)
    fault(['maxDelay'], `a request waits for at most ${maxDelayMsMax}ms, for drivers give it up after a while`)
  return ms
}

function microsOf(duration: string): number {
  const [, digits = '', word = ''] = /^(\d+)(ms|s|m|h|d)$/.exec(duration) ?? []
  return Number(digits) * (word === 'ms' ? 1000 : periodMicros.get(word)!)
}

/** As the record shows it: literals are `?`. */
function shapeOf(text: string, fault: (message: string) => void): string {
  try {
    return analyse(text).redacted
  } catch (reason) {
    fault(`not a statement: ${RingfenceError.from(reason, 'SYNTAX').message}`)
    return ''
  }
}

function rangeOf(text: string, fault: (message: string) => void): AddressRange[] {
  const wrong = addressFault(text)
  if (wrong !== undefined) {
    fault(wrong)
    return []
  }
  const [address = '', bits] = text.split('/')
  const bytes = parseAddress(address)!
  return [{ bytes, bits: bits === undefined ? bytes.length * 8 : Number(bits) }]
}
