/** What `/config_dump` shows of what was pushed: all that is short, the count of what is long, and never a secret. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import type { Revocation } from '../../identity/revoked/revocation.ts'
import { allPushedKinds, pushedKinds } from '../pushed.ts'
import { PushedValues } from '../pushed-values.ts'
import { partOf, revocationKinds } from '../revocations.ts'
import { shownPushed } from './pushed.ts'

type Shown = Record<string, { version?: string; value?: unknown; count?: number; long?: true; secret?: true }>

const valuesNow = () => new PushedValues(allPushedKinds)
const shownOf = (values: PushedValues, ...more: [role?: 'gateway' | 'sidecar', more?: object]): Shown =>
  shownPushed((kind) => values.value(kind), ...more) as Shown

describe('what was pushed', () => {
  it('is shown with its version, to whom it is for, and no secret', () => {
    const values = valuesNow()
    values.value(pushedKinds.policy).set({ revision: 3, source: 'kind: AccessPolicy' })
    values.value(pushedKinds.keys).set([{ id: 1, key: Buffer.alloc(32, 1) }])
    const shown = shownOf(values, 'sidecar', { from: 'https://control:8443' })
    assert.deepEqual(shown.policy, {
      from: 'https://control:8443',
      version: values.value(pushedKinds.policy).version,
      value: { revision: 3, source: 'kind: AccessPolicy' },
    })
    assert.deepEqual(shown.keys, { from: 'https://control:8443', secret: true })
    assert.equal(shownOf(values, 'gateway').keys, undefined)
    assert.deepEqual(shownOf(values).keys, { secret: true })
  })

  it('is a count of revocations, of which none is read', () => {
    const values = valuesNow()
    const before = shownOf(values).revocations
    assert.equal(before?.count, 0)
    let read = 0
    const entry = (id: number): Revocation => ({
      id,
      kind: 'id',
      get value() {
        read++
        return `spiffe://demo.local/svc/${id}`
      },
    })
    const parts: Revocation[][] = revocationKinds.map(() => [])
    for (let id = 0; id < limits.revocationsMax; id++) parts[partOf(id)]?.push(entry(id))
    for (const [part, kind] of revocationKinds.entries()) values.value(kind).set(parts[part] ?? [])
    read = 0
    const shown = shownOf(values)
    assert.equal(read, 0)
    assert.equal(shown.revocations?.count, limits.revocationsMax)
    assert.notEqual(shown.revocations?.version, before?.version)
    assert.ok(JSON.stringify(shown).length < 10_000)
  })

  it('is a count of a list that is long, and the list below that', () => {
    const values = valuesNow()
    const gateways = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ name: `g${n}`, address: '10.0.0.1', port: n })) as never[]
    values.value(pushedKinds.gateways).set(gateways(10))
    assert.deepEqual(shownOf(values).gateways?.value, { gateways: gateways(10) })
    values.value(pushedKinds.gateways).set(gateways(100_000))
    const { version, ...rest } = shownOf(values).gateways ?? {}
    assert.equal(version, values.value(pushedKinds.gateways).version)
    assert.deepEqual(rest, { long: true, count: 100_000 })
  })

  it('has the whole policy, however long a policy may be', () => {
    const values = valuesNow()
    const source = '#'.repeat(limits.policyBytesMax)
    values.value(pushedKinds.policy).set({ revision: 1, source, epoch: 2 })
    assert.deepEqual(shownOf(values).policy?.value, { revision: 1, source, epoch: 2 })
    values.value(pushedKinds.policy).set({ revision: 2, source: source.repeat(2), epoch: 2 })
    const { version, ...rest } = shownOf(values).policy ?? {}
    assert.ok(version !== undefined)
    assert.deepEqual(rest, { long: true })
  })
})
