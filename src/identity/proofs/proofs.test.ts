import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { Providers } from '../providers/in-force.ts'
import { Revocations } from '../revoked/revocations.ts'
import { parseSpiffeId } from '../spiffe.ts'
import { identityKey, type WhoOne } from '../verified.ts'
import { proofs } from './index.ts'
import { listener } from './listener.ts'
import type { Proof, ProofCheck, Proved } from './proof.ts'
import { askedOf, behalfMethods, Conversation, Proofs, shownBy } from './registry.ts'

const alice = parseSpiffeId('spiffe://demo.local/svc/alice')
const check: ProofCheck = {
  nowMs: 1000,
  trust: { trustDomain: 'demo.local', bundlePem: '', providers: Providers.none, revocations: Revocations.none },
  gateway: undefined,
  named: undefined,
  address: '192.0.2.1',
}
const anyone = { certificates: [], listenerIdentity: undefined }
const isIdentityFault = (error: unknown): boolean => error instanceof RingfenceError && error.code === 'IDENTITY'

/** A word that begins with `prefix` proves what `proved` says; answered at once, or in two rounds. */
function spoken(method: string, prefix: string, proved: Partial<Proved> = {}, rounds = 1): Proof<string> {
  return {
    method,
    evidence: { name: method, schema: z.string() },
    asks: {
      className: 'org.example.Spoken',
      begin() {
        let round = 0
        return {
          answer(token) {
            if (!token.toString().startsWith(prefix)) return undefined
            return ++round < rounds ? Buffer.from('more') : { chain: [], shown: token.toString() }
          },
        }
      },
    },
    verify: ({ shown }) => ({ subject: alice, expiresAtMs: 2000, hashed: shown, ...proved }),
  }
}

describe('a registry of proofs', () => {
  it('refuses a second kind of one name, and a name that is no word', () => {
    const some = new Proofs(listener)
    some.register(spoken('said', 'x'))
    for (const method of ['said', 'listener', '', 'Said', 'a b', 'a"', 'x'.repeat(40)]) {
      assert.throws(() => some.register(spoken(method, 'x')), { code: 'CONFIG' }, method)
    }
    assert.deepEqual(some.methods, ['listener', 'said', ...Object.values(behalfMethods)])
    assert.throws(() => some.taken(['listener', 'unheard']), { code: 'CONFIG' })
  })

  it('asks for nothing where a listener does not say what it takes', () => {
    const some = new Proofs(listener)
    some.register(spoken('said', 'x'))
    assert.deepEqual(askedOf(some.taken(undefined)), [])
    assert.equal(askedOf(some.taken(['said']))[0]?.method, 'said')
  })

  it('makes an identity of what was proved, with the hash of the evidence and not the evidence', async () => {
    const some = new Proofs(listener)
    const known: Partial<Proved> = { groups: ['corp/b', 'corp/a', 'corp/b'], role: 'arn:aws:iam::1:role/r' }
    some.register(spoken('said', 'x', { person: 'corp/alice', claims: { groups: ['a'] }, ...known }))
    some.register({ ...spoken('later', 'x'), verify: async () => ({ subject: alice, expiresAtMs: 2000, hashed: 'x' }) })
    const identity = some.verify({ kind: 'said', chain: [], shown: 'xyz' }, check)
    assert.ok(!(identity instanceof Promise))
    const { subject, person, groups, role, methods, claims, expiresAtMs, gateway } = identity
    assert.deepEqual(
      { subject, person, groups, role, methods, claims, expiresAtMs, gateway },
      {
        subject: alice,
        person: 'corp/alice',
        groups: ['corp/a', 'corp/b'],
        role: 'arn:aws:iam::1:role/r',
        methods: ['said'],
        claims: { groups: ['a'] },
        expiresAtMs: 2000,
        gateway: undefined,
      },
    )
    assert.equal(identity.evidenceHash, '3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282')
    assert.ok(!JSON.stringify(identity).includes('xyz'))
    assert.equal((await some.verify({ kind: 'later', chain: [], shown: '' }, check)).methods[0], 'later')
  })

  it('refuses what no proof may say: another trust domain, the mesh’s own ids, a time that is over, evidence that is not understood', async () => {
    const refusals: Record<string, Partial<Proved>> = {
      elsewhere: { subject: parseSpiffeId('spiffe://other/svc/alice') },
      own: { subject: parseSpiffeId('spiffe://demo.local/ringfence/gateway/g') },
      over: { expiresAtMs: 1000 },
      never: { expiresAtMs: Number.NaN },
      nobody: { person: '' },
    }
    for (const [method, proved] of Object.entries(refusals)) {
      const some = new Proofs(listener)
      some.register(spoken(method, 'x', proved))
      assert.throws(() => some.verify({ kind: method, chain: [], shown: 'x' }, check), isIdentityFault, method)
      some.register({
        ...spoken('later', 'x'),
        verify: async () => ({ subject: alice, expiresAtMs: 2000, hashed: '', ...proved }),
      })
      await assert.rejects(
        async () => some.verify({ kind: 'later', chain: [], shown: 'x' }, check),
        isIdentityFault,
        method,
      )
    }
    const some = new Proofs(listener)
    some.register(spoken('said', 'x'))
    assert.throws(() => some.verify({ kind: 'unheard', chain: [], shown: 'x' }, check), isIdentityFault)
    for (const shown of [undefined, 7, {}, null]) {
      assert.throws(() => some.verify({ kind: 'said', chain: [], shown }, check), isIdentityFault)
    }
  })

  it('gives an answer to the first kind that knows it, of those that ask by one class name', () => {
    const other: Proof<string> = {
      ...spoken('other', 'x'),
      asks: { ...spoken('other', 'x').asks!, className: 'Other' },
    }
    const some = new Proofs(listener)
    for (const proof of [spoken('a', 'a:'), other, spoken('b', 'b:', {}, 2)]) some.register(proof)
    const asked = askedOf(some.taken(['a', 'other', 'b']))
    assert.deepEqual(
      asked.map(({ method }) => method),
      ['a', 'b'],
    )
    assert.deepEqual(new Conversation(asked, anyone).answer(Buffer.from('a:1')), { kind: 'a', chain: [], shown: 'a:1' })
    const rounds = new Conversation(asked, anyone)
    assert.deepEqual(rounds.answer(Buffer.from('b:1')), Buffer.from('more'))
    assert.throws(() => rounds.answer(Buffer.from('a:1')), isIdentityFault)
    assert.throws(() => new Conversation(asked, anyone).answer(Buffer.from('x')), isIdentityFault)
  })

  it('takes of a connection the first that it shows', () => {
    const certificates = [Buffer.from('leaf')]
    assert.equal(shownBy(proofs.taken(undefined), { certificates, listenerIdentity: undefined })?.kind, 'svid')
    assert.equal(shownBy(proofs.taken(undefined), { certificates: [], listenerIdentity: alice })?.kind, 'listener')
    assert.equal(shownBy(proofs.taken(undefined), { certificates: [], listenerIdentity: undefined }), undefined)
  })
})

describe('the identity of a plain listener', () => {
  it('has no certificate and no end, and the person that its id names', () => {
    const named = parseSpiffeId('spiffe://demo.local/user/okta/alice')
    const identity = proofs.verify({ kind: 'listener', chain: [] }, { ...check, named })
    assert.ok(!(identity instanceof Promise))
    assert.deepEqual(identity.methods, ['listener'])
    assert.equal(identity.expiresAtMs, Number.POSITIVE_INFINITY)
    assert.equal(identity.person, 'okta/alice')
  })
})

describe('identityKey', () => {
  it('is one for each subject, person, groups, role, methods and claims, and none of them can be mistaken for another', () => {
    const bob = parseSpiffeId('spiffe://demo.local/svc/bob')
    const choices = {
      subject: [alice, bob],
      person: [undefined, '', 'corp/alice', '"', alice],
      groups: [[], ['a'], ['a', 'b'], ['a,b'], ['corp/alice']],
      role: [undefined, 'a', 'arn:aws:iam::1:role/r'],
      methods: [['certificate'], ['listener'], ['certificate', 'oidc']],
      claims: [{}, { a: 1 }, { a: '1' }, { a: [1] }, { a: { b: 1 } }, { groups: ['a', 'b'] }, { groups: ['a,b'] }],
    } satisfies { [Field in keyof WhoOne]: readonly WhoOne[Field][] }
    let who: Partial<WhoOne>[] = [{}]
    for (const [field, values] of Object.entries(choices))
      who = who.flatMap((one) => values.map((value) => ({ ...one, [field]: value })))
    const keys = new Set(
      who.map((one) => identityKey(one as WhoOne, one.methods?.length === 1 && one.methods[0] === 'certificate')),
    )
    assert.equal(keys.size, who.length)
  })

  it('does not depend on the order of claims', () => {
    const claims = { a: 1, b: { c: 1, d: 2 } }
    const one: WhoOne = { subject: alice, person: undefined, groups: [], role: undefined, methods: ['oidc'], claims }
    const same: WhoOne = { ...one, claims: { b: { d: 2, c: 1 }, a: 1 } }
    assert.equal(identityKey(one, false), identityKey(same, false))
  })

  it('is the subject where that says it all, so that pages sealed by it alone still open', () => {
    const one = { subject: alice, person: undefined, groups: [], role: undefined, methods: ['certificate'], claims: {} }
    assert.equal(identityKey(one, true), alice)
  })
})

describe('what is kept for somebody', () => {
  it('is filed under the whole identity: a subject alone is read only to be told, shown or matched', () => {
    const root = join(import.meta.dirname, '../../..')
    const reading = globSync('src/{session,sidecar,gateway}/**/*.ts', { cwd: root })
      .filter((file) => !/\.(test|fuzz|fixture)\.ts$/.test(file))
      .filter((file) =>
        /\b(?:identity|principal|info)\??\.(?:subject|spiffeId)\b/.test(readFileSync(join(root, file), 'utf8')),
      )
    assert.deepEqual(reading.sort(), [
      'src/gateway/passport.ts', // names the client to the sidecar
      'src/gateway/traced-requests.ts', // the attributes of a span
      'src/session/client-life.ts', // for the log
      'src/sidecar/behalf/on-behalf.ts', // is the token for this workload?
      'src/sidecar/judged.ts', // the words of a denial
      'src/sidecar/links.ts', // is the peer a gateway?
      'src/sidecar/open-session.ts', // the record
    ])
  })
})

describe('kinds of proof', () => {
  it('are named by no file outside this folder and that of the providers', () => {
    const root = join(import.meta.dirname, '../../..')
    const kinds = [...proofs.methods, 'svid', 'jwt', 'aws'].join('|')
    // The cause of a refusal may be called like one, and so may a field that is read or shown.
    const named = new RegExp(`(?<!LogInRefused\\(|why: \\w+ \\? |text\\(|^ +\\[)(['"\`])(?:${kinds})\\1`, 'm')
    const own = globSync('src/identity/{proofs,providers,jwt,aws}/*.ts', { cwd: root })
    assert.ok(own.some((file) => named.test(readFileSync(join(root, file), 'utf8'))))
    const naming = globSync('src/**/*.ts', { cwd: root })
      .filter((file) => !own.includes(file) && !/\.(test|fuzz|fixture)\.ts$/.test(file))
      .filter((file) => named.test(readFileSync(join(root, file), 'utf8')))
    assert.deepEqual(naming, [])
  })
})
