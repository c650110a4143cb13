/**
 * `when:` of a rule. A condition that is always true or never, or that says nothing of the rule's operations, is a fault.
 */
import type { DocumentPath } from '../../base/document.ts'
import { unknownWord } from '../../base/words.ts'
import type { Permission } from '../../cql/statement/facts.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { isMapped, parseAddress } from '../address.ts'
import type { Conditions, Hours } from '../conditions.ts'
import { permissionsUnder } from '../conditions.ts'
import type { WhenSpec } from './kinds.ts'

export type FaultAt = (path: DocumentPath, message: string) => void

/**
 * @param claims that identity providers give to policy; undefined where they are not known, or were looked at before
 * @param fault told of each fault, with its path below `when`
 */
export function compileWhen(
  spec: WhenSpec,
  effect: 'allow' | 'deny',
  claims: readonly string[] | undefined,
  fault: FaultAt,
): Conditions {
  if (Object.values(spec).every((value) => value === undefined)) fault([], '"when" is empty; leave it out')
  for (const [index, range] of spec.clientAddresses?.entries() ?? []) {
    const wrong = addressFault(range)
    if (wrong !== undefined) fault(['clientAddresses', index], wrong)
  }
  const hours = spec.hours === undefined ? undefined : parseHours(spec.hours)
  if (spec.hours !== undefined && hours === undefined) {
    fault(['hours'], `${JSON.stringify(spec.hours)} is not a span of the day; write it like 08:00-18:00 (UTC)`)
  }
  if (hours !== undefined && hours.from === hours.to)
    fault(['hours'], 'the span begins where it ends; leave "hours" out for the whole day')
  if (spec.days !== undefined && new Set(spec.days).size === 7)
    fault(['days'], 'every day is named, so "days" says nothing; leave it out')
  if (spec.authentication !== undefined && new Set(spec.authentication).size === proofs.methods.length)
    fault(['authentication'], 'every method is named, so "authentication" says nothing; leave it out')
  if (spec.claims !== undefined) checkClaims(spec.claims, claims, fault)
  if (spec.rowsMax !== undefined && effect === 'deny') {
    fault(['rowsMax'], 'a deny of small answers helps nobody; write "rowsMax" in the rule that allows')
  }
  if (spec.rowsMax !== undefined && spec.conditional !== undefined) {
    fault(
      ['rowsMax'],
      'a SELECT has no IF, and a statement with IF has no LIMIT, so "rowsMax" and "conditional" need rules of their own',
    )
  }
  return {
    clientAddresses: spec.clientAddresses,
    hours,
    days: spec.days,
    consistency: spec.consistency,
    authentication: spec.authentication,
    claims:
      spec.claims && new Map(Object.entries(spec.claims).map(([name, value]) => [name, [value].flat().map(String)])),
    conditional: spec.conditional,
    rowsMax: spec.rowsMax,
  }
}

/** A claim that no provider gives to policy is never there, so a rule that asks for it can never do anything. */
function checkClaims(spec: object, known: readonly string[] | undefined, fault: FaultAt): void {
  const names = Object.keys(spec)
  if (names.length === 0) fault(['claims'], '"claims" is empty; leave it out')
  if (known === undefined) return
  for (const name of names) {
    if (known.includes(name)) continue
    const where = 'claims.forPolicy of an IdentityProvider lists those that policy may ask for'
    fault(['claims', name], `${unknownWord('claim', name, known)}; ${where}`)
  }
}

/** The conditions that speak of some operations only, with these. */
export function narrowing(spec: WhenSpec | undefined): readonly (readonly [string, ReadonlySet<Permission>])[] {
  if (spec === undefined) return []
  const keys = ['consistency', 'conditional', 'rowsMax'] as const
  return keys.filter((key) => spec[key] !== undefined).map((key) => [key, permissionsUnder[key]] as const)
}

export function addressFault(text: string): string | undefined {
  const shown = JSON.stringify(text.slice(0, 64))
  const [address = '', bits, ...rest] = text.split('/')
  const bytes = parseAddress(address)
  if (bytes === undefined || rest.length > 0) {
    return `${shown} is not an address; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32`
  }
  // Cedar reads no IPv4 inside IPv6, and a client's address is never written so.
  if (isMapped(bytes) || (bytes.length === 16 && address.includes('.')))
    return `${shown}: write the IPv4 address itself`
  const width = bytes.length * 8
  if (bits === undefined) return undefined
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > width) return `${shown}: the bits are 0 to ${width}`
  if (Number(bits) === 0) return `${shown} is every address of its family; leave it out`
  return hostBitsFault(shown, bytes, Number(bits))
}

/** `10.1.2.3/8` looks like one host and is sixteen million. */
function hostBitsFault(shown: string, bytes: readonly number[], bits: number): string | undefined {
  const kept = bytes.map((byte, index) => {
    const left = bits - index * 8
    return left >= 8 ? byte : left <= 0 ? 0 : byte & (0xff << (8 - left)) & 0xff
  })
  if (kept.every((byte, index) => byte === bytes[index])) return undefined
  return `${shown} has bits beyond the first ${bits}; write where the range begins`
}

function parseHours(text: string): Hours | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$/.exec(text)
  if (match === null) return undefined
  const [from, to] = [Number(match[1]) * 60 + Number(match[2]), Number(match[3]) * 60 + Number(match[4])]
  if (to > 1440) return undefined
  return { from, to }
}
