import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { allPushedKinds, policySnapshot, pushedKinds } from './pushed.ts'
import { type PushedKind, pushedList } from './pushed-kind.ts'
import { PushedValues } from './pushed-values.ts'
import { variantsOf } from './report.fixture.ts'
import { revocationKinds } from './revocations.ts'
import { lineOf } from './watch.ts'

const log = { error: (): void => {} }
const key = Buffer.alloc(32, 7)
const sidecar = { name: 'n', spiffeId: 'spiffe://d/ringfence/sidecar/n', address: '127.0.0.1', port: 9142 }

interface Example<T> {
  readonly kind: PushedKind<T>
  readonly value: T
  readonly line: string
}
const example = <T>(kind: PushedKind<T>, value: T, line: string): Example<unknown> =>
  ({ kind, value, line }) as Example<unknown>

/** As proxies and control planes of before write and read them. */
const examples = [
  ...revocationKinds.map((kind) =>
    example(
      kind,
      [
        { id: 7, kind: 'person', value: 'corp/alice', untilMs: 5 },
        { id: 71, kind: 'issuer-key', value: 'k1', provider: 'corp' },
      ],
      `{"kind":"${kind.name}","${kind.name}":[{"id":7,"kind":"person","value":"corp/alice","untilMs":5},{"id":71,"kind":"issuer-key","value":"k1","provider":"corp"}]}`,
    ),
  ),
  example(
    pushedKinds.authorities,
    { bundleSequence: 9, bundlePem: 'PEM\n', tainted: [{ authority: 'ab'.repeat(20), sinceMs: 5 }] },
    `{"kind":"authorities","bundleSequence":9,"bundlePem":"PEM\\n","tainted":[{"authority":"${'ab'.repeat(20)}","sinceMs":5}]}`,
  ),
  example(
    pushedKinds.revocationsAsOf,
    { revocationsDigest: 'ab'.repeat(32) },
    `{"kind":"revocationsAsOf","revocationsDigest":"${'ab'.repeat(32)}"}`,
  ),
  example(
    pushedKinds.keys,
    [
      { id: 3, key, use: 'masks', fromMs: 5 },
      { id: 2, key, use: 'pages' },
    ],
    `{"kind":"keys","keys":[{"id":3,"key":"${key.toString('base64')}","use":"masks","fromMs":5},{"id":2,"key":"${key.toString('base64')}","use":"pages"}]}`,
  ),
  example(
    pushedKinds.keySets,
    [
      {
        provider: 'corp',
        issuer: 'https://id.example',
        keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43), kid: 'k' }],
        fetchedAtMs: 5,
      },
    ],
    `{"kind":"keySets","keySets":[{"provider":"corp","issuer":"https://id.example","keys":[{"kty":"OKP","crv":"Ed25519","x":"${'A'.repeat(43)}","kid":"k"}],"fetchedAtMs":5}]}`,
  ),
  example(
    pushedKinds.txnKeys,
    [{ kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'B'.repeat(43), kid: 'k', alg: 'ES256' }],
    `{"kind":"txnKeys","txnKeys":[{"kty":"EC","crv":"P-256","x":"${'A'.repeat(43)}","y":"${'B'.repeat(43)}","kid":"k","alg":"ES256"}]}`,
  ),
  example(
    pushedKinds.policy,
    { revision: 4, source: 'kind: "x"\n' },
    '{"kind":"policy","revision":4,"source":"kind: \\"x\\"\\n"}',
  ),
  example(
    pushedKinds.sidecars,
    [{ ...sidecar, dataCenter: 'dc1', rack: 'r1' }],
    '{"kind":"sidecars","sidecars":[{"name":"n","spiffeId":"spiffe://d/ringfence/sidecar/n","address":"127.0.0.1","port":9142,"dataCenter":"dc1","rack":"r1"}]}',
  ),
  example(
    pushedKinds.gateways,
    [sidecar],
    '{"kind":"gateways","gateways":[{"name":"n","spiffeId":"spiffe://d/ringfence/sidecar/n","address":"127.0.0.1","port":9142}]}',
  ),
]

describe('pushed values', () => {
  it('stand on the wire as they did before there was a list of them, and are read as they were written', () => {
    assert.deepEqual(
      examples.map(({ kind }) => kind.name),
      allPushedKinds.map(({ name }) => name),
    )
    for (const { kind, value, line } of examples) {
      assert.equal(lineOf(kind, value, log), `${line}\n`)
      const reading = kind.read({ ...JSON.parse(line), later: 'a field of a newer control plane' })
      assert.deepEqual(reading, { understood: true, value, skipped: 0 })
      assert.notEqual(kind.version(value), kind.version(kind.empty))
      // Workers get them by a structured clone.
      const clone = structuredClone(value)
      assert.equal(JSON.stringify(clone).length > 0, true)
    }
  })

  it('are told to nobody for whom they are secret: keys go to sidecars only, and are kept as secrets', () => {
    const { keys, revocationsAsOf: asOf, authorities, ...others } = pushedKinds
    // Roots stand on disk beside the certificate.
    assert.deepEqual([authorities.roles, authorities.kept], [['gateway', 'sidecar'], 'no'])
    assert.deepEqual([asOf.roles, asOf.kept], [['gateway', 'sidecar'], 'own'])
    assert.deepEqual([keys.roles, keys.kept], [['sidecar'], 'secret'])
    for (const { name, roles, kept } of Object.values(others)) {
      assert.deepEqual([roles, kept], [['gateway', 'sidecar'], 'cache'], name)
    }
  })

  it('lose no good entry of a list by a bad one', () => {
    const wireKey = { id: 1, key: key.toString('base64') }
    for (const [kind, good, goodRead] of [
      [pushedKinds.sidecars, sidecar, sidecar],
      [pushedKinds.gateways, sidecar, sidecar],
      [pushedKinds.keys, wireKey, { id: 1, key }],
    ] as const) {
      const bad: unknown[] = [null, 1, [], 'x', {}]
      for (const { path, value, report } of variantsOf(good)) {
        if (path !== '' && !(typeof value === 'string' && value.length === 1)) bad.push(report)
      }
      for (const each of bad) {
        const text = `${kind.name} ${JSON.stringify(each)?.slice(0, 80)}`
        const reading = kind.read({ [kind.name]: [good, each, good] })
        assert.ok(reading.understood, text)
        assert.equal(reading.value.length + reading.skipped, 3, text)
        assert.equal(reading.value.filter((one) => isEqual(one, goodRead)).length >= 2, true, text)
      }
    }
  })

  it('are not understood where they are none', () => {
    for (const { kind } of examples) {
      for (const none of [undefined, null, 1, 'x', [], {}, { [kind.name]: 1 }]) {
        assert.equal(kind.read(none).understood, false, `${kind.name} ${JSON.stringify(none)}`)
      }
    }
  })

  it('are told to observers once for each change, one that throws keeps none from it, and an equal one is none', () => {
    const failed: unknown[] = []
    const values = new PushedValues(allPushedKinds, (reason) => failed.push(reason))
    const policy = values.value(pushedKinds.policy)
    const seen: number[] = []
    policy.observe(() => {
      throw new Error('on purpose')
    })
    const stop = policy.observe(({ revision }) => seen.push(revision))
    assert.equal(policy.set({ revision: 1, source: 'a' }), true)
    const { version } = policy
    assert.equal(policy.set({ revision: 1, source: 'a' }), false)
    assert.equal(policy.set({ revision: 1, source: 'b' }), true)
    assert.notEqual(policy.version, version)
    stop()
    policy.set({ revision: 2, source: 'b' })
    assert.deepEqual(seen, [1, 1])
    assert.equal(failed.length, 3)
  })

  it('have names of their own, and are asked for by what is in the list', () => {
    const other = pushedList({ name: 'keys', roles: ['sidecar'], kept: 'no', entry: z.string(), countMax: 1 })
    assert.throws(() => new PushedValues([...allPushedKinds, other]), /two kinds/)
    assert.throws(() => new PushedValues(allPushedKinds).value(other), /not in this process's list/)
  })
})

function isEqual(one: unknown, other: unknown): boolean {
  try {
    assert.deepEqual(one, other)
    return true
  } catch {
    return false
  }
}

describe('the succession of authorities', () => {
  it('is by their number: what is older is not taken, what is equal or newer is', () => {
    const { authorities } = pushedKinds
    const at = (bundleSequence: number) => ({ bundleSequence, bundlePem: `${bundleSequence}`, tainted: [] })
    assert.equal(authorities.succeed?.(at(8), at(9))?.taken, false)
    for (const next of [9, 10]) assert.equal(authorities.succeed?.(at(next), at(9)), undefined)
    assert.equal(authorities.succeed?.(at(1), authorities.empty), undefined)
  })

  it('reads no authority that is none, and no bundle without end', () => {
    const good = { bundleSequence: 1, bundlePem: '', tainted: [] }
    assert.ok(pushedKinds.authorities.read(good).understood)
    for (const bad of [
      { ...good, bundleSequence: -1 },
      { ...good, bundlePem: 'x'.repeat(1_000_000) },
      { ...good, tainted: [{ authority: 'xyz', sinceMs: 1 }] },
      { ...good, tainted: Array.from({ length: 65 }, () => ({ authority: 'ab'.repeat(20), sinceMs: 1 })) },
    ])
      assert.ok(!pushedKinds.authorities.read(bad).understood, JSON.stringify(bad).slice(0, 80))
  })
})

describe('the succession of policies', () => {
  /** epoch, revision, source: what is in force, what is offered, and whether it is taken. */
  type Given = readonly [epoch: number | undefined, revision: number, source: string]
  const cases: readonly (readonly [string, Given, Given, boolean])[] = [
    ['a later revision', [undefined, 3, 'a'], [undefined, 4, 'b'], true],
    ['an older revision', [undefined, 3, 'a'], [undefined, 2, 'b'], false],
    ['the same again', [undefined, 3, 'a'], [undefined, 3, 'a'], true],
    ['a lower revision of a later epoch', [undefined, 9, 'a'], [100, 3, 'b'], true],
    ['a higher revision of an older epoch', [100, 3, 'a'], [undefined, 9, 'b'], false],
    ['a higher revision of an epoch between', [200, 3, 'a'], [100, 9, 'b'], false],
    ['an older revision of the same epoch', [100, 4, 'a'], [100, 3, 'b'], false],
    ['a later revision of the same epoch', [100, 4, 'a'], [100, 5, 'b'], true],
    ['the first of all', [undefined, 0, ''], [100, 1, 'b'], true],
  ]
  const snapshot = ([epoch = 0, revision, source]: Given) => policySnapshot(revision, source, epoch)

  for (const [what, inForce, offered, taken] of cases) {
    it(`${taken ? 'takes' : 'refuses'} ${what}`, () => {
      const remark = pushedKinds.policy.succeed?.(snapshot(offered), snapshot(inForce))
      assert.equal(remark?.taken ?? true, taken)
    })
  }

  it('survives the wire with its epoch, and is equal to what was sent', () => {
    const { policy } = pushedKinds
    for (const sent of [policySnapshot(3, 'a', 0), policySnapshot(3, 'a', 100)]) {
      const reading = policy.read(JSON.parse(JSON.stringify(policy.write(sent))))
      assert.ok(reading.understood)
      assert.deepEqual(reading.value, sent)
      assert.equal(policy.version(reading.value), policy.version(sent))
    }
    assert.notEqual(policy.version(policySnapshot(3, 'a', 100)), policy.version(policySnapshot(3, 'a', 0)))
    for (const epoch of [-1, 1.5, 2 ** 32, 'x'])
      assert.equal(policy.read({ revision: 1, source: '', epoch }).understood, false)
  })
})
