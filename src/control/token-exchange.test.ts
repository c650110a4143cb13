import assert from 'node:assert/strict'
import { generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { Agent, request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { stsHosts } from '../identity/aws/hosts.ts'
import { passwordOf, serverId, urlWith } from '../identity/aws/presigned.fixture.ts'
import { readPresigned } from '../identity/aws/presigned.ts'
import { callerAnswer } from '../identity/aws/sts.fixture.ts'
import { readLeaf } from '../identity/certificate.ts'
import { verifyChain } from '../identity/chain.ts'
import { makeKey as makeTokenKey, part, signed, signedBySecret } from '../identity/jwt/tokens.fixture.ts'
import { Outside, type OutsideCalls } from '../identity/outside/outside.ts'
import { evidenceOfPassword, proofs } from '../identity/proofs/index.ts'
import type { Evidence } from '../identity/proofs/proof.ts'
import { shownBy } from '../identity/proofs/registry.ts'
import { type KeySet, ProvidersInForce } from '../identity/providers/in-force.ts'
import { Revocations } from '../identity/revoked/revocations.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { parseJson } from '../mesh/answer.ts'
import { credentialsOf, makeKey } from '../mesh/credentials.ts'
import { certificateType, exchangeAnswer, exchangeGrant, typeOfToken } from '../mesh/exchange.ts'
import { presignedUseAnswer, presignedUsesPath } from '../mesh/presigned-uses.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { loadProviders } from '../policy/providers.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { eventually, type Mesh, overHttps, withMesh } from './mesh.fixture.ts'

const provider = (name: string, spec: string): string => `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: ${name} }
spec: ${spec}
`
const policy = [
  provider(
    'corp',
    '{ type: oidc, issuer: "https://login.example.com", audiences: [ringfence], claims: { groups: groups, forPolicy: [acr, amr] } }',
  ),
  provider(
    'jobs',
    '{ type: oidc, issuer: "https://jobs.example.com", audiences: [ringfence], certificateLife: 2m, claims: { workload: azp, workloadPrefix: svc/, person: sub } }',
  ),
  provider('none', '{ type: oidc, issuer: "https://none.example.com", audiences: [ringfence], certificateLife: 0s }'),
  provider(
    'nodes',
    '{ type: oidc, issuer: "https://nodes.example.com", audiences: [ringfence], claims: { workload: sub, workloadPrefix: cassandra/ } }',
  ),
  provider(
    'cloud',
    '{ type: aws, issuer: "https://id1.tokens.sts.global.api.aws", audiences: [ringfence], claims: { forPolicy: [org_id] } }',
  ),
  provider('sts', `{ type: aws-sts, serverId: ${serverId}, accounts: ["123456789012"] }`),
  provider('cluster', '{ type: kubernetes, issuer: "https://cluster.example.com", audiences: [ringfence] }'),
  provider(
    'reviewed',
    '{ type: kubernetes, issuer: "https://kubernetes.default.svc", audiences: [ringfence], tokenReview: true }',
  ),
  provider(
    'own',
    '{ type: spiffe, trustDomain: demo.local, audiences: [ringfence], jwks: "https://spire.example.com/bundle" }',
  ),
  provider(
    'partner',
    '{ type: spiffe, trustDomain: partner.example, audiences: [ringfence], jwks: "https://spire.partner.example/bundle" }',
  ),
].join('---')

const key = makeTokenKey('k1')
const foreign = makeTokenKey('k1')
const stranger = makeTokenKey('k2')

const now = (): number => Math.floor(Date.now() / 1000)
const usual = (): object => ({ aud: 'ringfence', iat: now() - 5, exp: now() + 7200, jti: randomUUID() })
type Change = Readonly<Record<string, unknown>>

/** The claims of each kind of token. */
const claims = {
  person: (change: Change = {}) => ({
    ...usual(),
    iss: 'https://login.example.com',
    sub: 'alice@example.com',
    groups: ['oncall', 'analysts'],
    acr: 'mfa',
    amr: ['pwd', 'otp'],
    ...change,
  }),
  personBehindWorkload: (change: Change = {}) => ({
    ...usual(),
    iss: 'https://jobs.example.com',
    sub: 'bob',
    azp: 'web',
    ...change,
  }),
  aws: (change: Change = {}) => ({
    ...usual(),
    iss: 'https://id1.tokens.sts.global.api.aws',
    sub: 'arn:aws:iam::123456789012:role/team/etl',
    'https://sts.amazonaws.com/': { aws_account: '123456789012', org_id: 'o-abc1234567' },
    ...change,
  }),
  kubernetes: (change: Change = {}) => ({
    ...usual(),
    iss: 'https://cluster.example.com',
    sub: 'system:serviceaccount:shop:orders',
    'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'orders', uid: 'u' } },
    ...change,
  }),
  svid: (change: Change = {}) => ({
    ...{ aud: ['ringfence'], exp: now() + 7200, sub: 'spiffe://demo.local/svc/reports' },
    ...change,
  }),
}
/** By keys that the AWS provider's algorithms allow. */
const awsKey = makeTokenKey('k1', 'RS256')
const keyOf = (name: keyof typeof claims) => (name === 'aws' ? awsKey : key)
const token = (name: keyof typeof claims, change: Change = {}): string => signed(keyOf(name), claims[name](change))
const reviewedToken = (): string => signed(key, claims.kubernetes({ iss: 'https://kubernetes.default.svc' }))

let fresh = 0
/** Each by an access key of its own, or by the one that is given. */
function presigned(ageMs = 0, accessKey = `ASIAEXAMPLE${String(fresh++).padStart(9, '0')}`): string {
  const date = new Date(Date.now() - ageMs).toISOString().replace(/[-:]|\.\d+/g, '')
  const credential = `${accessKey}/${date.slice(0, 8)}/eu-central-1/sts/aws4_request`
  return passwordOf(urlWith({ 'X-Amz-Date': date, 'X-Amz-Credential': credential }))
}

let stsAsked = 0
const outside: OutsideCalls = {
  sts: async () => {
    stsAsked++
    return callerAnswer()
  },
  tokenReview: async (body) => {
    const { spec } = JSON.parse(body) as { spec: { token: string; audiences: string[] } }
    const isThere = spec.token.length > 0
    const status = {
      authenticated: isThere,
      user: { username: 'system:serviceaccount:shop:orders' },
      audiences: spec.audiences,
    }
    const answer = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1', status }
    return { status: 201, contentType: 'application/json', body: Buffer.from(JSON.stringify(answer)) }
  },
}

const lines: string[] = []
const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })

/** A control plane with these providers, whose keys are there. */
function withExchange(test: (mesh: Mesh) => Promise<void>, change: object = {}): Promise<void> {
  lines.length = 0
  const fetchKeys = async ({ at }: { at: object }) => [
    JSON.stringify(at).includes('api.aws')
      ? awsKey.jwk
      : { ...key.jwk, use: JSON.stringify(at).includes('bundle') ? 'jwt-svid' : 'sig' },
  ]
  return withMesh(
    { policy: { source: policy, fileName: 'p.yaml' }, fetchKeys, outside, log, ...change },
    async (mesh) => {
      await eventually('the keys are there', () => mesh.control.value(pushedKinds.keySets).current.length === 8)
      await test(mesh)
    },
  )
}

interface FormAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Record<string, unknown>
}

function post(
  mesh: Mesh,
  body: string,
  type = 'application/x-www-form-urlencoded',
  tls: object = {},
): Promise<FormAnswer> {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(new URL('/v1/exchange', mesh.control.url), {
      ...{ method: 'POST', agent: false, rejectUnauthorized: false, headers: { 'content-type': type } },
      ...tls,
    })
    sent.on('error', reject)
    sent.on('response', (answer) => {
      let text = ''
      answer.on('data', (piece) => {
        text += String(piece)
      })
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: (parseJson(text) ?? { text }) as Record<string, unknown>,
        }),
      )
    })
    sent.end(body)
  })
}

const { csrPem, keyPem } = await makeKey()

function form(subject: string, change: Readonly<Record<string, string | undefined>> = {}): string {
  const fields = {
    grant_type: exchangeGrant,
    subject_token: subject,
    subject_token_type: typeOfToken(subject),
    requested_token_type: certificateType,
    csr: csrPem,
    ...change,
  }
  const given = Object.entries(fields).filter((one): one is [string, string] => one[1] !== undefined)
  return new URLSearchParams(given).toString()
}

const exchange = (mesh: Mesh, subject: string, change: Readonly<Record<string, string | undefined>> = {}) =>
  post(mesh, form(subject, change))

/** The credentials that were got. */
async function got(mesh: Mesh, subject: string) {
  const { status, body } = await exchange(mesh, subject)
  assert.equal(status, 200, JSON.stringify(body))
  const answer = exchangeAnswer.parse(body)
  return { answer, ...credentialsOf(answer.access_token, keyPem, answer.bundle) }
}

/** Who it is at a proxy that has the same providers. */
async function identityBy(mesh: Mesh, evidence: Evidence, source = policy): Promise<VerifiedIdentity> {
  const providers = new ProvidersInForce(new Outside(outside))
  providers.setDocuments(loadProviders(source))
  providers.setKeySets(mesh.control.value(pushedKinds.keySets).current as readonly KeySet[])
  const { bundlePem } = await mesh.admin.bundle()
  const trust = { trustDomain: 'demo.local', bundlePem, providers: providers.current, revocations: Revocations.none }
  return proofs.verify(evidence, {
    nowMs: Date.now(),
    trust,
    gateway: undefined,
    named: undefined,
    address: '192.0.2.1',
  })
}

function certificateEvidence(leafDer: Buffer): Evidence {
  const shown = shownBy(proofs.taken(undefined), { certificates: [leafDer], listenerIdentity: undefined })
  assert.ok(shown)
  return shown
}

const ways: Readonly<Record<string, { readonly make: () => string; readonly id: string; readonly lifeMsMax: number }>> =
  {
    'the token of a person': {
      make: () => token('person'),
      id: 'spiffe://demo.local/user/corp/alice_x40example.com',
      lifeMsMax: 3_600_000,
    },
    'the token of a workload with a person behind it': {
      make: () => token('personBehindWorkload'),
      id: 'spiffe://demo.local/svc/web',
      lifeMsMax: 120_000,
    },
    'a token of GetWebIdentityToken': {
      make: () => token('aws'),
      id: 'spiffe://demo.local/aws/123456789012/role/etl',
      lifeMsMax: 3_600_000,
    },
    'a pre-signed GetCallerIdentity': {
      make: () => presigned(60_000),
      id: 'spiffe://demo.local/aws/123456789012/role/etl',
      lifeMsMax: 14 * 60_000,
    },
    'a token of a service account': {
      make: () => token('kubernetes'),
      id: 'spiffe://demo.local/ns/shop/sa/orders',
      lifeMsMax: 3_600_000,
    },
    'a token that the API server reviews': {
      make: reviewedToken,
      id: 'spiffe://demo.local/ns/shop/sa/orders',
      lifeMsMax: 3_600_000,
    },
    'a JWT-SVID': { make: () => token('svid'), id: 'spiffe://demo.local/svc/reports', lifeMsMax: 3_600_000 },
    'a token that is nearly over': {
      make: () => token('person', { exp: now() + 90 }),
      id: 'spiffe://demo.local/user/corp/alice_x40example.com',
      lifeMsMax: 90_000,
    },
  }

describe('a token for a certificate', () => {
  for (const [name, { make, id, lifeMsMax }] of Object.entries(ways)) {
    it(`gives for ${name} one that says just what the token does, and ends with it`, () =>
      withExchange(async (mesh) => {
        const subject = make()
        const { answer, leafDer, notAfterMs, bundlePem, certificatePem } = await got(mesh, subject)
        assert.equal(answer.spiffe_id, id)
        assert.equal(answer.issued_token_type, certificateType)
        assert.equal(answer.token_type, 'N_A')
        const leaf = readLeaf(leafDer)
        assert.equal(leaf.spiffeId, id)
        const intermediates = certificatePem
          .split(/(?=-----BEGIN)/)
          .slice(1)
          .map((pem) => new X509Certificate(pem).raw)
        verifyChain(leafDer, intermediates, bundlePem, Date.now())
        const lifeMs = notAfterMs - Date.now()
        assert.ok(lifeMs <= lifeMsMax && lifeMs > lifeMsMax - 10_000, `lives ${lifeMs} ms`)
        assert.ok(answer.expires_in * 1000 <= lifeMsMax)
        const byToken = await identityBy(mesh, evidenceOfPassword(subject))
        const byCertificate = await identityBy(mesh, certificateEvidence(leafDer))
        for (const field of ['subject', 'person', 'groups', 'role', 'methods', 'claims', 'key', 'token'] as const)
          assert.deepEqual(byCertificate[field], byToken[field], field)
        assert.ok(byCertificate.expiresAtMs <= byToken.expiresAtMs, 'it ends with the token')
      }))
  }

  it('lets no certificate outlive that of the mesh', () =>
    withExchange(
      async (mesh) => {
        const { notAfterMs } = await got(mesh, token('person'))
        assert.ok(notAfterMs - Date.now() <= 300_000)
      },
      { svidTtlMs: 300_000 },
    ))

  it('is on record, and the token is nowhere', () =>
    withExchange(async (mesh) => {
      const jti = randomUUID()
      const good = [token('person', { jti }), token('aws'), presigned(), token('kubernetes'), token('svid')]
      const bad = [
        signed(foreign, claims.person()),
        token('person', { aud: 'another' }),
        token('person', { exp: now() - 60, iat: now() - 120 }),
        presigned(16 * 60_000),
        `${part({ alg: 'none' })}.${part(claims.person())}.`,
        'no token at all',
      ]
      const answers: string[] = []
      for (const one of [...good, ...bad]) answers.push(JSON.stringify((await exchange(mesh, one)).body))
      // Where it may stand by mistake: in the name of a parameter, in the address, in JSON, in a header.
      answers.push(JSON.stringify((await post(mesh, good[0]!)).body))
      answers.push(
        JSON.stringify((await post(mesh, JSON.stringify({ subject_token: good[0] }), 'application/json')).body),
      )
      answers.push(JSON.stringify((await exchange(mesh, good[0]!, { subject_token_type: good[1]! })).body))
      answers.push(JSON.stringify((await exchange(mesh, good[0]!, { grant_type: good[1]!, csr: good[2]! })).body))
      answers.push(
        JSON.stringify((await overHttps(mesh, undefined, 'GET', `/v1/exchange?subject_token=${good[0]}`)).body),
      )
      const { issuances } = await mesh.admin.issuances(100)
      const exchanged = issuances.filter(({ reason }) => reason === 'exchange')
      assert.equal(exchanged.length, good.length)
      const person = exchanged.find(({ spiffeId }) => spiffeId.includes('/user/'))
      assert.match(person?.caller ?? '', /^token [0-9a-f]{64} of corp$/)
      const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
      const issued = told.filter(({ msg }) => msg === 'certificate issued for a token')
      assert.equal(issued.length, good.length)
      const of = issued.find(({ tokenId }) => tokenId === jti)
      assert.equal(of?.issuer, 'https://login.example.com')
      assert.equal(of?.person, 'corp/alice@example.com')
      assert.ok(person?.caller.includes(String(of?.tokenHash)))
      const causes = told.filter(({ msg }) => msg === 'log-in refused').map(({ cause }) => cause)
      assert.deepEqual(causes.slice(0, bad.length), [
        'signature',
        'audience',
        'expired',
        'expired',
        'algorithm',
        'malformed',
      ])
      const written = [...lines, ...answers, JSON.stringify(issuances)].join('\n')
      for (const one of [...good, ...bad.slice(0, 5)]) {
        const parts = one.split('.').filter((piece) => piece.length > 20)
        for (const piece of parts.slice(-2)) assert.ok(!written.includes(piece), piece.slice(0, 12))
      }
    }))
})

const oneText = 'these credentials are not accepted here'

describe('a token for a certificate is refused', () => {
  it('for what it is, in one text where a name could be guessed by it, and in words where trying again helps', () =>
    withExchange(async (mesh) => {
      const refused: Record<string, readonly [string, RegExp | string]> = {
        expired: [token('person', { exp: now() - 60, iat: now() - 120 }), /the token expired at/],
        'not yet valid': [token('person', { nbf: now() + 300 }), /not valid before/],
        'for another audience': [token('person', { aud: 'another' }), oneText],
        'of another issuer': [token('person', { iss: 'https://login.example.com/' }), oneText],
        'that lives too long': [token('person', { exp: now() + 90_000 }), oneText],
        'without a signature': [`${part({ alg: 'none' })}.${part(claims.person())}.`, oneText],
        'signed with the public key as a secret': [
          signedBySecret(JSON.stringify(key.jwk), claims.person(), { alg: 'HS256', kid: 'k1' }),
          oneText,
        ],
        'by another key of the same name': [signed(foreign, claims.person()), oneText],
        'by a key that is not known': [signed(stranger, claims.person()), oneText],
        'that is no token': ['hunter2', oneText],
        'with another inside': ['hunter2\0hunter2\0hunter2', oneText],
        'of a refresh': [token('person', { typ: 'Refresh' }), oneText],
        'without a subject': [token('person', { sub: '' }), oneText],
        'of AWS for another audience': [token('aws', { aud: 'sts.amazonaws.com' }), oneText],
        'of AWS by another key': [signed(makeTokenKey('k1', 'RS256'), claims.aws()), oneText],
        'of AWS, expired': [token('aws', { exp: now() - 60, iat: now() - 120 }), /the token expired at/],
        'of a service account for the API server': [
          token('kubernetes', { aud: 'https://kubernetes.default.svc' }),
          oneText,
        ],
        'of a service account by another cluster': [signed(foreign, claims.kubernetes()), oneText],
        'that is pre-signed and too old': [presigned(16 * 60_000), /older than 15 minutes/],
        'that is pre-signed for a later time': [presigned(-5 * 60_000), /of a later time/],
        'that is pre-signed for another host': [passwordOf(urlWith({}, 'sts.example.com')), oneText],
        'that is a JWT-SVID for another audience': [token('svid', { aud: ['another'] }), oneText],
        'that is a JWT-SVID of a proxy': [token('svid', { sub: 'spiffe://demo.local/ringfence/gateway/g' }), oneText],
        'that is a JWT-SVID of a node': [token('svid', { sub: 'spiffe://demo.local/cassandra/n1' }), oneText],
        'that is a JWT-SVID of a person': [token('svid', { sub: 'spiffe://demo.local/user/corp/alice' }), oneText],
        'that names a node of Cassandra': [
          signed(key, { ...usual(), iss: 'https://nodes.example.com', sub: 'n1' }),
          oneText,
        ],
        'of another trust domain': [
          token('svid', { sub: 'spiffe://partner.example/svc/a' }),
          /certificates of its own trust domain only/,
        ],
        'of a provider whose tokens give none': [
          signed(key, { ...usual(), iss: 'https://none.example.com', sub: 'alice' }),
          /no certificates for tokens of this identity provider/,
        ],
        'with more groups than fit': [
          token('person', { groups: Array.from({ length: 400 }, (_, i) => `group-with-a-long-name-${i}`) }),
          /too many for a certificate/,
        ],
      }
      for (const [name, [subject, wording]] of Object.entries(refused)) {
        const { status, body, headers } = await exchange(mesh, subject)
        assert.equal(status, 400, `${name}: ${JSON.stringify(body)}`)
        assert.equal(body.error, 'invalid_request', name)
        if (typeof wording === 'string') assert.equal(body.error_description, wording, name)
        else assert.match(String(body.error_description), wording, name)
        assert.equal(headers['cache-control'], 'no-store', name)
        assert.equal(body.access_token, undefined, name)
      }
      const { issuances } = await mesh.admin.issuances(100)
      assert.equal(issuances.filter(({ reason }) => reason === 'exchange').length, 0)
      // Its neighbours are good.
      for (const { make } of Object.values(ways)) assert.equal((await exchange(mesh, make())).status, 200)
    }))

  it('where the request is another than RFC 8693 and this page have it', () =>
    withExchange(async (mesh) => {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const good = token('person')
      const cases: readonly [string, string, string][] = [
        ['no grant', form(good, { grant_type: undefined }), 'invalid_request'],
        ['another grant', form(good, { grant_type: 'client_credentials' }), 'unsupported_grant_type'],
        ['no token', form(good, { subject_token: undefined }), 'invalid_request'],
        ['an empty token', form(good, { subject_token: '' }), 'invalid_request'],
        ['no type', form(good, { subject_token_type: undefined }), 'invalid_request'],
        [
          'another type',
          form(good, { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }),
          'invalid_request',
        ],
        ['the type of another', form(good, { subject_token_type: typeOfToken(presigned()) }), 'invalid_request'],
        [
          'a token is wanted',
          form(good, { requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' }),
          'invalid_request',
        ],
        ['no signing request', form(good, { csr: undefined }), 'invalid_request'],
        ['no good signing request', form(good, { csr: 'x' }), 'invalid_request'],
        [
          'a key as signing request',
          form(good, { csr: publicKey.export({ type: 'spki', format: 'pem' }).toString() }),
          'invalid_request',
        ],
        ['an actor', form(good, { actor_token: good }), 'invalid_request'],
        ['another audience', form(good, { audience: 'spiffe://partner.example' }), 'invalid_target'],
        ['a resource', form(good, { resource: 'https://example.com' }), 'invalid_target'],
        ['a scope', form(good, { scope: 'admin' }), 'invalid_scope'],
        ['a parameter twice', `${form(good)}&subject_token=${good}`, 'invalid_request'],
        [
          'many parameters',
          `${form(good)}&${Array.from({ length: 40 }, (_, i) => `p${i}=1`).join('&')}`,
          'invalid_request',
        ],
        ['nothing', '', 'invalid_request'],
      ]
      assert.ok(privateKey)
      for (const [name, body, error] of cases) {
        const answer = await post(mesh, body)
        assert.equal(answer.status, 400, `${name}: ${JSON.stringify(answer.body)}`)
        assert.equal(answer.body.error, error, name)
        assert.equal(typeof answer.body.error_description, 'string', name)
      }
      const json = await post(mesh, JSON.stringify({ subject_token: good }), 'application/json')
      assert.deepEqual([json.status, json.body.error], [400, 'invalid_request'])
      const tooLong = await exchange(mesh, `${good}${'a'.repeat(limits.authMessageBytesMax)}`)
      assert.deepEqual([tooLong.status, tooLong.body.error], [400, 'invalid_request'])
      const farTooLong = await post(mesh, `${form(good)}&x=${'a'.repeat(256 * 1024)}`)
      assert.deepEqual([farTooLong.status, farTooLong.body.error], [413, 'invalid_request'])
      // Their neighbours: what is not asked for, what says the same, what is not known.
      for (const change of [
        { requested_token_type: undefined },
        { audience: 'spiffe://demo.local' },
        { subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' },
        { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' },
        { client_id: 'somebody', scope: '' },
      ])
        assert.equal((await exchange(mesh, good, change)).status, 200, JSON.stringify(change))
      const long = token('person', { padding: 'x'.repeat(32 * 1024) })
      assert.equal((await exchange(mesh, long)).status, 200)
      // Nowhere else is a form read.
      const enrol = await new Promise<number>((resolve, reject) => {
        const headers = { 'content-type': 'application/x-www-form-urlencoded' }
        const sent = httpsRequest(new URL('/v1/enrol', mesh.control.url), {
          ...{ method: 'POST', agent: false, rejectUnauthorized: false, headers },
        })
        sent.on('error', reject)
        sent.on('response', ({ statusCode = 0 }) => resolve(statusCode))
        sent.end('token=x')
      })
      assert.equal(enrol, 415)
    }))

  it('where a pre-signed request was exchanged before, in whatever way it is written, by whomever', () =>
    withExchange(async (mesh) => {
      const first = presigned()
      stsAsked = 0
      const answers = await Promise.all(Array.from({ length: 6 }, () => exchange(mesh, first)))
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400, 400, 400])
      assert.equal(stsAsked, 1)
      // The same request, written another way.
      const url = Buffer.from(first.slice(first.indexOf('.') + 1), 'base64url').toString()
      const [head = '', query = ''] = url.split('?')
      const other = passwordOf(`${head}?${query.split('&').reverse().join('&').replace(/%2F/g, '%2f')}`)
      assert.notEqual(other, first)
      const again = await exchange(mesh, other)
      assert.deepEqual([again.status, again.body.error], [400, 'invalid_request'])
      assert.match(String(again.body.error_description), /used before; make a new one/)
      assert.equal((await exchange(mesh, presigned())).status, 200)
      // A token is no one-time password: an agent reads the same file again.
      const same = token('person')
      for (let i = 0; i < 3; i++) assert.equal((await exchange(mesh, same)).status, 200)
    }))

  it('where a pre-signed request was used for a log-in by another address, and where it was not', () =>
    withExchange(async (mesh) => {
      const id = 'spiffe://demo.local/ringfence/sidecar/n1'
      const agent = await mesh.agent('n1', await mesh.token(id, 'sidecar'))
      const [stolen, own, later] = [presigned(), presigned(), presigned()]
      const used = async (password: string, address: string): Promise<boolean> => {
        const check = { serverId, hosts: stsHosts('aws'), nowMs: Date.now(), leewayMs: 0 }
        const { key: of, endMs } = readPresigned(password, check)
        const principal = 'arn:aws:iam::123456789012:role/etl'
        const asked = { principal, key: of, address, endMs }
        return (await agent.askControl(presignedUsesPath, asked, presignedUseAnswer)).isFirst
      }
      assert.equal(await used(stolen, '192.0.2.9'), true)
      assert.equal(await used(own, '127.0.0.1'), true)
      const [refused, got] = [await exchange(mesh, stolen), await exchange(mesh, own)]
      assert.deepEqual([refused.status, refused.body.error], [400, 'invalid_request'])
      assert.match(String(refused.body.error_description), /used before; make a new one/)
      assert.equal(got.status, 200)
      // What was exchanged is a log-in from that address still, and from no other.
      assert.equal((await exchange(mesh, later)).status, 200)
      assert.deepEqual([await used(later, '192.0.2.9'), await used(later, '127.0.0.1')], [false, true])
    }))

  it('where it was exchanged before the control plane was started again, and another is good', () =>
    withExchange(async (mesh) => {
      const kept = presigned()
      assert.equal((await exchange(mesh, kept)).status, 200)
      for (let start = 0; start < 2; start++) {
        await mesh.control.stop()
        await mesh.restart()
        await eventually('the keys are there', () => mesh.control.value(pushedKinds.keySets).current.length === 8)
        const again = await exchange(mesh, kept)
        assert.deepEqual([again.status, again.body.error], [400, 'invalid_request'], `start ${start}`)
        assert.match(String(again.body.error_description), /used before; make a new one/)
        assert.equal((await exchange(mesh, presigned())).status, 200)
      }
    }))

  it('where as many are remembered of its role as may be, and others are exchanged', () => {
    const store = new MemoryStore()
    const arn = 'arn:aws:iam::123456789012:role/etl'
    const endMs = Date.now() + 900_000
    const { exchangedRememberedMax: entriesMax, exchangedRememberedPerIdentityMax: entriesPerOwnerMax } = limits
    for (let i = 0; i < entriesPerOwnerMax; i++)
      store.spendOnce({ key: `k${i}`, owner: arn, endMs }, { entriesMax, entriesPerOwnerMax }, Date.now())
    return withExchange(
      async (mesh) => {
        const { status, body } = await exchange(mesh, presigned())
        assert.deepEqual([status, body.error], [429, 'temporarily_unavailable'])
        for (const make of [token('aws'), token('person')]) assert.equal((await exchange(mesh, make)).status, 200)
      },
      { openStore: () => store },
    )
  })

  it('while nobody can be verified, which is told apart from a refusal', () =>
    withMesh(
      {
        policy: { source: policy, fileName: 'p.yaml' },
        fetchKeys: () => Promise.reject(new Error('away')),
        outside: { sts: () => Promise.reject(new Error('away')), tokenReview: undefined },
      },
      async (mesh) => {
        for (const subject of [token('person'), reviewedToken()]) {
          const { status, body } = await exchange(mesh, subject)
          assert.deepEqual([status, body.error], [503, 'temporarily_unavailable'], JSON.stringify(body))
        }
      },
    ))
})

describe('what strangers may cost', () => {
  it('is bounded by who it is, so that nobody takes the share of others', () => {
    const startMicros = systemClock.monotonic()
    return withExchange(
      async (mesh) => {
        const statuses: number[] = []
        for (let i = 0; i < 20; i++) statuses.push((await exchange(mesh, token('kubernetes'))).status)
        assert.deepEqual(new Set(statuses), new Set([200]))
        const refused = await exchange(mesh, token('kubernetes'))
        assert.deepEqual([refused.status, refused.body.error], [429, 'temporarily_unavailable'])
        assert.equal(refused.headers['retry-after'], '1')
        assert.equal((await exchange(mesh, token('person'))).status, 200)
      },
      { clock: { now: systemClock.now, monotonic: () => startMicros } },
    )
  })

  it('is bounded by address and by whom they claim to be, before a token is looked at', () => {
    const { monotonic } = systemClock
    const startMs = Date.now()
    return withExchange(
      async (mesh) => {
        const forged = form(signed(foreign, claims.person({ sub: 'mallory' })))
        const agent = new Agent({ keepAlive: true, maxSockets: 4, rejectUnauthorized: false })
        const tries = async (): Promise<FormAnswer> => post(mesh, forged, undefined, { agent })
        const answers: FormAnswer[] = []
        for (let i = 0; i < limits.logInsRefusedPerClaimBurstMax + 20; i += 10)
          answers.push(...(await Promise.all(Array.from({ length: 10 }, tries))))
        agent.destroy()
        const looked = answers.filter(({ status }) => status === 400).length
        assert.ok(looked >= limits.logInsRefusedPerClaimBurstMax && looked < answers.length, `${looked} were looked at`)
        const refused = answers.at(-1)
        assert.deepEqual([refused?.status, refused?.body.error], [429, 'temporarily_unavailable'])
        assert.equal((await exchange(mesh, token('person'))).status, 200, 'who claims to be another')
      },
      // So that no time passes in which more would be allowed.
      { clock: { now: () => startMs, monotonic } },
    )
  })
})

describe('a certificate that was got for a token', () => {
  it('is not renewed, also where its id has enrolled, and opens nothing of the control plane', () =>
    withExchange(async (mesh) => {
      const enrolled = await mesh.agent('w', await mesh.token('spiffe://demo.local/svc/reports', 'workload'), {
        role: 'workload',
      })
      const { certificatePem } = await got(mesh, token('svid'))
      const body = { csrPem: (await makeKey()).csrPem }
      const renewed = await overHttps(mesh, { certificatePem, keyPem }, 'POST', '/v1/renew', body)
      assert.equal(renewed.status, 403)
      assert.match(JSON.stringify(renewed.body), /was got for a token and is not renewed/)
      assert.equal((await overHttps(mesh, enrolled.credentials.current, 'POST', '/v1/renew', body)).status, 200)
      const proven = { certificatePem, keyPem }
      assert.equal((await overHttps(mesh, proven, 'GET', '/v1/none')).status, 404)
      for (const path of ['/v1/watch', '/v1/policy', '/v1/status'])
        assert.equal((await overHttps(mesh, proven, 'GET', path)).status, 403, path)
      for (const path of ['/v1/report', '/v1/x509', '/v1/tokens'])
        assert.equal((await overHttps(mesh, proven, 'POST', path, {})).status, 403, path)
    }))

  it('costs what a stranger may, for there are many who get one', () => {
    const startMicros = systemClock.monotonic()
    return withExchange(
      async (mesh) => {
        const { certificatePem } = await got(mesh, token('svid'))
        const minted = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/reports' })
        const statuses = async (cert: string, key: string): Promise<Set<number>> => {
          const agent = new Agent({ keepAlive: true, maxSockets: 4, rejectUnauthorized: false, cert, key })
          const found = new Set<number>()
          for (let i = 0; i < 2 * limits.controlRequestsPerSecondMax; i += 20) {
            const ask = () => post(mesh, '', undefined, { agent })
            for (const { status } of await Promise.all(Array.from({ length: 20 }, ask))) found.add(status)
          }
          agent.destroy()
          return found
        }
        assert.deepEqual([...(await statuses(certificatePem, keyPem))].sort(), [400, 429])
        assert.deepEqual([...(await statuses(minted.certificatePem, minted.keyPem))], [400])
      },
      // So that no time passes in which more would be allowed.
      { clock: { now: systemClock.now, monotonic: () => startMicros } },
    )
  })

  it('is none for the id of a node, or of a part of the mesh, whatever its name', () =>
    withExchange(async (mesh) => {
      const id = 'spiffe://demo.local/svc/reports'
      assert.equal((await exchange(mesh, token('svid'))).status, 200)
      await mesh.agent('n', await mesh.token(id, 'node'), { role: 'node' })
      const { status, body } = await exchange(mesh, token('svid'))
      assert.deepEqual([status, body.error_description], [400, oneText])
    }))

  it('is another caller than one of the same id that enrolled', () =>
    withExchange(async (mesh) => {
      const { leafDer } = await got(mesh, token('svid'))
      const minted = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/reports' })
      const own = credentialsOf(minted.certificatePem, minted.keyPem, minted.bundlePem)
      const [one, other] = await Promise.all(
        [leafDer, own.leafDer].map((der) => identityBy(mesh, certificateEvidence(der))),
      )
      assert.equal(one!.subject, other!.subject)
      assert.notEqual(one!.key, other!.key)
      assert.deepEqual([one!.methods, other!.methods], [['spiffe'], ['certificate']])
    }))

  it('is good no more where policy takes its provider away, or lets it give none', () =>
    withExchange(async (mesh) => {
      const { leafDer } = await got(mesh, token('person'))
      const evidence = certificateEvidence(leafDer)
      assert.equal((await identityBy(mesh, evidence)).person, 'corp/alice@example.com')
      const documents = policy.split('---')
      const without = documents.filter((text) => !text.includes('name: corp')).join('---')
      const none = policy.replace(
        'audiences: [ringfence], claims: { groups',
        'audiences: [ringfence], certificateLife: 0s, claims: { groups',
      )
      for (const source of [without, none]) {
        assert.notEqual(source, policy)
        await assert.rejects(identityBy(mesh, evidence, source), { code: 'IDENTITY', why: 'issuer' })
      }
      const another = policy.replace('name: partner', 'name: partners')
      assert.equal((await identityBy(mesh, evidence, another)).person, 'corp/alice@example.com')
    }))

  it('is no second proof beside a token', () =>
    withExchange(async (mesh) => {
      const subject = token('person')
      const { leafDer } = await got(mesh, subject)
      const both = (der: Buffer): Evidence => {
        const { kind, shown } = evidenceOfPassword(subject)
        return { kind: 'both', chain: [der], shown: { kind, shown } }
      }
      await assert.rejects(identityBy(mesh, both(leafDer)), /was got for a token, and is no second proof/)
      const minted = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/reports' })
      const own = credentialsOf(minted.certificatePem, minted.keyPem, minted.bundlePem)
      assert.deepEqual((await identityBy(mesh, both(own.leafDer))).methods, ['certificate', 'oidc'])
    }))

  it('is written by nothing but the exchange', () => {
    const root = join(import.meta.dirname, '..')
    const writing = globSync('**/*.ts', { cwd: root })
      .filter((file) => !/\.(test|fixture)\.ts$/.test(file))
      .filter((file) => /\bexchangedO(f|id)\b/.test(readFileSync(join(root, file), 'utf8')))
    assert.deepEqual(writing.sort(), [
      'control/ca.ts',
      'control/enrolment.ts',
      'identity/certificate.ts',
      'identity/exchanged.ts',
    ])
  })
})
