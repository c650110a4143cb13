/**
 * What the control plane pushes, as `/config_dump` shows it, of proxies and of the control plane itself.
 *
 * The rule one must not break: it takes no longer where more was pushed. Clients are served in the same loop, so revocations are counted, and so is
 * whatever else is long.
 */
import { limits } from '../../base/limits.ts'
import { allPushedKinds } from '../pushed.ts'
import { digestOf, type Pushed, revocationKinds } from '../revocations.ts'
import type { AgentRole } from '../roles.ts'

const listCharsMax = 256 * 1024
/** A policy is always shown. */
const valueCharsMax = limits.policyBytesMax + 4_096

const revocationNames: ReadonlySet<string> = new Set(revocationKinds.map(({ name }) => name))

/**
 * @param role of whom it is told; undefined: all that is told to anybody
 * @param more stands beside each value
 */
export function shownPushed(pushed: Pushed, role?: AgentRole, more: object = {}): object {
  const kinds = allPushedKinds.filter(({ name, roles }) => {
    return !revocationNames.has(name) && (role === undefined || roles.includes(role))
  })
  const shown = kinds.map((kind) => {
    // The version of a secret is made of it.
    if (kind.kept === 'secret') return [kind.name, { ...more, secret: true }]
    const { current, version } = pushed(kind)
    const value = kind.write(current)
    if (fits(value, kind.isList ? listCharsMax : valueCharsMax)) return [kind.name, { ...more, version, value }]
    return [kind.name, { ...more, version, long: true, ...(Array.isArray(current) ? { count: current.length } : {}) }]
  })
  const count = revocationKinds.reduce((sum, kind) => sum + pushed(kind).current.length, 0)
  return { revocations: { ...more, version: digestOf(pushed), count }, ...Object.fromEntries(shown) }
}

/** Whether it has about so many characters or fewer. It is not written for that, and no more of it is looked at. */
function fits(value: unknown, charsMax: number): boolean {
  let left = charsMax
  const waiting = [value]
  while (waiting.length > 0) {
    const each = waiting.pop()
    left -= typeof each === 'string' ? each.length + 2 : 2
    if (typeof each === 'object' && each !== null) {
      const isList = Array.isArray(each)
      if (isList && 2 * each.length > left) return false
      for (const [name, inner] of isList ? each.entries() : Object.entries(each)) {
        if (!isList) left -= String(name).length + 4
        waiting.push(inner)
      }
    }
    if (left < 0) return false
  }
  return true
}
