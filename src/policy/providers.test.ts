import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { typeOf } from '../identity/providers/index.ts'
import { compilePolicy } from './compiler.ts'
import { loadPolicy } from './load.ts'
import { loadProviders, providersMax } from './providers.ts'

const issuer = 'https://id.example.com/realms/corp'
const provider = (spec: string, name = 'corp'): string =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: ${name} }\nspec:\n${spec.replace(/^/gm, '  ')}\n`
const least = `type: oidc\nissuer: ${issuer}\naudiences: [ringfence]`

function problemsOf(source: string): string {
  try {
    loadPolicy(source, 'p.yaml')
    return ''
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError && reason.code === 'CONFIG', String(reason))
    // Which key it is about stands before each message.
    return reason.message.replace(/: spec[^ ]*: /g, ': ')
  }
}

describe('kind IdentityProvider', () => {
  it('needs a type, an issuer and audiences; what else it may say has a value of its own', () => {
    const [found] = loadPolicy(provider(least), 'p.yaml').providers
    assert.equal(found?.name, 'corp')
    assert.deepEqual(found?.spec, {
      type: 'oidc',
      issuer,
      audiences: ['ringfence'],
      algorithms: ['RS256', 'ES256'],
      leeway: 30_000,
      lifeMax: 86_400_000,
      certificateLife: 3_600_000,
      allowPrivate: false,
      refresh: 45_000,
      keysMaxAge: 86_400_000,
      userName: 'any',
      claims: { groupsPrefix: '', forPolicy: [] },
    })
    assert.deepEqual(typeOf(found!.spec).keySource(found!.spec), {
      at: { discoveryUrl: `${issuer}/.well-known/openid-configuration`, issuer },
      caPem: undefined,
      allowPrivate: false,
      refreshMs: 45_000,
    })
  })

  it('is the same to a gateway and a control plane, which compile no policy, and to a policy that is compiled on a thread', async () => {
    const rule = (i: number): string =>
      `apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: r${i} }\nspec: { subjects: [{ spiffeId: "spiffe://demo.local/svc/a" }], keyspaces: [k${i}], operations: [READ] }\n`
    const rules = Array.from({ length: 80 }, (_, i) => rule(i))
    const more = `${least}\nclaims: { person: email, groups: realm_access.roles, forPolicy: [acr] }\nallowedGroups: [a]\nleeway: 10s`
    const source = [...rules, provider(more), provider(least.replace(issuer, 'https://other.example'), 'other')].join(
      '---\n',
    )
    const compiled = loadPolicy(source, 'p.yaml').providers
    assert.deepEqual(loadProviders(source), compiled)
    assert.deepEqual((await compilePolicy(source, 'p.yaml')).providers, compiled)
    assert.equal(compiled.length, 2)
  })

  const faults: Record<string, [source: string, problem: RegExp]> = {
    'a misspelt key': [
      provider(`${least}\naudience: [x]`),
      /^p\.yaml:8:3: unknown key "audience", did you mean "audiences"\?/,
    ],
    'a misspelt key below': [
      provider(`${least}\nclaims: { group: groups }`),
      /^p\.yaml:8:13: unknown key "group", did you mean "groups"\?/,
    ],
    'a misspelt type': [
      provider(least.replace('oidc', 'oidcc')),
      /^p\.yaml:5:9: unknown value "oidcc", did you mean "oidc"\?/,
    ],
    'no type': [provider(least.replace('type: oidc\n', '')), /^p\.yaml:5:3: missing key "type"/],
    'no issuer': [provider('type: oidc\naudiences: [a]'), /^p\.yaml:5:3: missing key "issuer"/],
    'no audiences': [provider(`type: oidc\nissuer: ${issuer}`), /missing key "audiences"/],
    'an empty list of audiences': [provider(`type: oidc\nissuer: ${issuer}\naudiences: []`), /7:14: the list is empty/],
    'a shared secret': [
      provider(`${least}\nalgorithms: [HS256]`),
      /^p\.yaml:8:16: unknown value "HS256".* valid: RS256/,
    ],
    'no signature': [provider(`${least}\nalgorithms: [none]`), /^p\.yaml:8:16: unknown value "none"/],
    'a leeway that is too long': [provider(`${least}\nleeway: 61s`), /^p\.yaml:8:11: expected at most 60s/],
    'a leeway that is no span': [provider(`${least}\nleeway: 30`), /^p\.yaml:8:11: expected text, found 30/],
    'certificates of hours': [provider(`${least}\ncertificateLife: 2h`), /expected at most 1h/],
    'a life of days': [provider(`${least}\nlifeMax: 25h`), /expected 1s to 24h/],
    'keys fetched too often': [provider(`${least}\nrefresh: 1s`), /expected 10s to 24h/],
    'an issuer without TLS': [provider(least.replace('https', 'http')), /^p\.yaml:6:11: .*must begin with https:/],
    'keys from a file': [provider(`${least}\njwks: file:///etc/passwd`), /^p\.yaml:8:9: .*must begin with https:/],
    'keys by a password': [provider(`${least}\njwks: https://a:b@example.com/`), /user or password/],
    'http to loopback without a word': [provider(`${least}\njwks: http://127.0.0.1/keys`), /allowPrivate: true/],
    'no certificates': [provider(`${least}\ncaPem: x`), /expected certificates in PEM/],
    'allowed groups that stand nowhere': [
      provider(`${least}\nallowedGroups: [a]`),
      /^p\.yaml:8:\d+: "allowedGroups" needs "claims\.groups"/,
    ],
    'a workload without a place': [
      provider(`${least}\nclaims: { workload: azp }`),
      /"workload" needs a "workloadPrefix"/,
    ],
    'a workload among the mesh’s own': [
      provider(`${least}\nclaims: { workload: azp, workloadPrefix: ringfence/ }`),
      /given by another way in/,
    ],
    'a workload among people': [
      provider(`${least}\nclaims: { workload: azp, workloadPrefix: user/corp/ }`),
      /given by another way in/,
    ],
    'a name twice': [
      `${provider(least)}---\n${provider(least.replace(issuer, 'https://b.example'))}`,
      /^p\.yaml:11:19: the name "corp" is taken by the IdentityProvider at line 3/,
    ],
    'an issuer twice': [
      `${provider(least)}---\n${provider(least, 'b')}`,
      /^p\.yaml:14:11: the issuer is that of the IdentityProvider corp at line 6/,
    ],
    'a word that ids may not have': [provider(least, '_corp'), /the word of an identity provider/],
    'too many': [
      Array.from({ length: providersMax + 1 }, (_, i) => provider(least.replace('corp', `r${i}`), `p${i}`)).join(
        '---\n',
      ),
      /at most 64 identity providers/,
    ],
  }
  for (const [name, [source, problem]] of Object.entries(faults)) {
    it(`refuses ${name}, with its place`, () => assert.match(problemsOf(source), problem))
  }

  it('may have the name of a rule, and http to loopback where that is said', () => {
    const rule = `apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: corp }\nspec: { subjects: [{ spiffeId: "spiffe://demo.local/svc/a" }], keyspaces: [k], operations: [READ] }\n`
    assert.equal(
      problemsOf(`${provider(`${least}\nallowPrivate: true\njwks: http://127.0.0.1:8080/keys`)}---\n${rule}`),
      '',
    )
  })
})
