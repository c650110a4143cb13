import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { parseDocuments } from '../base/document.ts'
import { RingfenceError } from '../base/errors.ts'
import { proofs } from '../identity/proofs/index.ts'
import { listenersSchema } from './listener-config.ts'

for (const method of ['asked', 'other']) {
  proofs.register({
    method,
    evidence: { name: method, schema: z.string() },
    asks: { className: method, begin: () => ({ answer: () => undefined }) },
    verify: () => assert.fail('nobody comes'),
  })
}

const schema = z.strictObject({ listeners: listenersSchema() })

/** What is wrong with one listener, or undefined. */
function problemOf(listener: string): string | undefined {
  const source = `apiVersion: ringfence.dev/v1alpha1\nkind: Sidecar\nmetadata: { name: one }\nspec:\n  listeners:\n    - ${listener}\n`
  try {
    parseDocuments(source, 'sidecar.yaml', new Map([['Sidecar', schema]]))
    return undefined
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError && reason.code === 'CONFIG', String(reason))
    return reason.message
  }
}

const identity = 'identity: "spiffe://demo.local/svc/tool"'

describe('listeners of a configuration file', () => {
  const allowed = [
    '{ address: 0.0.0.0, port: 9042 }',
    '{ address: "::", port: 9042, tls: true }',
    `{ address: 127.0.0.1, port: 9042, tls: false, ${identity} }`,
    `{ address: 127.3.2.1, port: 0, tls: false, ${identity} }`,
    `{ address: "::1", port: 9042, tls: false, ${identity} }`,
    `{ address: "unix:/run/ringfence/cql.sock", tls: false, ${identity} }`,
    '{ address: 10.0.0.1, port: 9042, authentication: [certificate] }',
    '{ address: 10.0.0.1, port: 9042, authentication: [certificate, asked] }',
    '{ address: 10.0.0.1, port: 9042, authentication: [asked] }',
    ...['certificate', 'token', 'both', 'either', '[certificate, token]', '[both]'].map(
      (mode) => `{ address: 10.0.0.1, port: 9042, authentication: ${mode} }`,
    ),
    ...['auto', 'words', 'silent'].map(
      (refusal) => `{ address: 10.0.0.1, port: 9042, authentication: token, refusal: ${refusal} }`,
    ),
    '{ address: 10.0.0.1, port: 9042, proxyProtocol: { from: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32"] } }',
  ]
  for (const listener of allowed) {
    it(`takes ${listener}`, () => assert.equal(problemOf(listener), undefined))
  }

  const refused: Record<string, RegExp> = {
    [`{ address: 0.0.0.0, port: 9042, tls: false, ${identity} }`]: /without TLS is allowed on loopback only/,
    [`{ address: 10.0.0.1, port: 9042, tls: false, ${identity} }`]: /without TLS is allowed on loopback only/,
    [`{ address: "::", port: 9042, tls: false, ${identity} }`]: /without TLS is allowed on loopback only/,
    [`{ address: "::ffff:10.0.0.1", port: 9042, tls: false, ${identity} }`]: /without TLS is allowed on loopback only/,
    '{ address: 127.0.0.1, port: 9042, tls: false }': /needs the "identity"/,
    '{ address: 127.0.0.1, port: 9042, tls: false, identity: "demo.local/svc/tool" }': /SPIFFE id/,
    '{ address: 127.0.0.1, port: 9042, tls: false, identity: "spiffe://demo.local/ringfence/gateway/g" }':
      /the mesh's own/,
    [`{ address: 127.0.0.1, port: 9042, ${identity} }`]: /takes the identity from the certificate/,
    [`{ address: "unix:/run/cql.sock", port: 9042, tls: false, ${identity} }`]: /has no "port"/,
    '{ address: "unix:/run/cql.sock", tls: false }': /needs the "identity"/,
    '{ address: "unix:/run/cql.sock" }': /plain listener/,
    [`{ address: "unix:/run/cql.sock", tls: false, ${identity}, proxyProtocol: { from: [10.0.0.1] } }`]:
      /PROXY protocol/,
    [`{ address: "unix:run/cql.sock", tls: false, ${identity} }`]: /absolute path/,
    [`{ address: 127.0.0.1, tls: false, ${identity} }`]: /needs a "port"/,
    '{ address: localhost, port: 9042 }': /IP address/,
    '{ address: 127.0.0.1, port: 65536 }': /port/,
    '{ address: 127.0.0.1, port: 9042, proxyProtocol: { from: [] } }': /from/,
    '{ address: 127.0.0.1, port: 9042, proxyProtocol: { from: [10.0.0.0/33] } }': /network/,
    '{ address: 127.0.0.1, port: 9042, proxyProtocol: { from: [10.0.0.0/8/8] } }': /network/,
    '{ address: 127.0.0.1, port: 9042, proxyProtocol: { from: [nginx.example.org] } }': /network/,
    '{ address: 127.0.0.1, port: 9042, authentication: [] }': /authentication/,
    '{ address: 127.0.0.1, port: 9042, authentication: [unheard] }':
      /expected one of certificate, listener, token, aws-sts, both, certificate-behalf, token-behalf, asked/,
    '{ address: 127.0.0.1, port: 9042, authentication: [asked, asked] }': /names a way twice/,
    '{ address: 127.0.0.1, port: 9042, authentication: tokens }': /unknown value "tokens", did you mean "token"\?/,
    '{ address: 127.0.0.1, port: 9042, authentication: listener }':
      /unknown value "listener"; valid: certificate, token/,
    '{ address: 127.0.0.1, port: 9042, authentication: constructor }': /unknown value "constructor"/,
    '{ address: 127.0.0.1, port: 9042, authentication: token, refusal: loud }': /unknown value "loud"/,
    '{ address: 127.0.0.1, port: 9042, authentication: [certificate, listener] }':
      /nobody can prove who it is by "listener"/,
    '{ address: 127.0.0.1, port: 9042, authentication: [asked, other] }': /"other" is asked for by another class name/,
    [`{ address: 127.0.0.1, port: 9042, tls: false, ${identity}, authentication: [listener] }`]:
      /for a listener with TLS/,
    '{ address: 127.0.0.1, port: 9042, tsl: true }': /tsl/,
  }
  for (const [listener, message] of Object.entries(refused)) {
    it(`refuses ${listener}`, () => {
      const problem = problemOf(listener)
      assert.match(problem ?? 'nothing', message)
      assert.match(problem ?? '', /^sidecar\.yaml:6:\d+: /)
    })
  }
})
