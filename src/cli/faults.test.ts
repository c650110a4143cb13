/** A document with one fault of each kind gets all of them told in one run. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseGatewayConfig } from '../gateway/config.ts'
import { loadPolicy } from '../policy/load.ts'
import { parseSidecarConfig } from '../sidecar/config.ts'

const document = (spec: string): string => `apiVersion: ringfence.dev/v1alpha1
kind: Gateway
metadata: { name: g1 }
spec:
  control: { url: https://127.0.0.1:8443 }
  listeners: [{ address: 127.0.0.1, port: 9242 }]
${spec}
`

describe('the faults of a configuration', () => {
  it('are all told at once, by document of each role', () => {
    const faults = [
      ['nothing: 1', /spec: unknown key "nothing"/],
      ['control: { url: http://127.0.0.1:8443 }', /spec\.control\.url/],
      ['waitingBytesMax: 1', /spec\.waitingBytesMax/],
      [
        `listeners:
    - { address: 0.0.0.0, port: 9042, tls: false, identity: "spiffe://d/x" }
    - { address: 127.0.0.1, port: 9042, tls: false }
    - { address: 127.0.0.1, port: 9042, tsl: false }
    - { address: localhost, port: 9042 }`,
        /loopback only/,
      ],
    ] as const
    const more = [/needs the "identity"/, /unknown key "tsl", did you mean "tls"/, /expected an IP address/]
    const read = {
      Gateway: {
        parse: parseGatewayConfig,
        own: 'advertise: [{ address: localhost, port: 9042 }]',
        told: /spec\.advertise\[0\]/,
      },
      Sidecar: {
        parse: parseSidecarConfig,
        own: 'upstream: { address: localhost }\n  audit: {}',
        told: /spec\.upstream\.address/,
      },
    }
    for (const [kind, { parse: parseOne, own, told }] of Object.entries(read)) {
      const source = `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: one }\nspec:\n${[...faults.map(([line]) => line), own].map((line) => `  ${line}\n`).join('')}`
      let message = ''
      assert.throws(
        () => parseOne(source, 'c.yaml'),
        (reason: Error) => {
          message = reason.message
          return true
        },
      )
      for (const wanted of [...faults.map(([, pattern]) => pattern), ...more, told]) assert.match(message, wanted)
      for (const line of message.split('\n')) assert.match(line, /^c\.yaml:\d+:\d+: /)
      const twice = `${source}---\n${source}`
      assert.throws(() => parseOne(twice, 'c.yaml'), { code: 'CONFIG' })
    }
  })

  it('are told of a second document, too', () => {
    const one = document('  advertise: [{ address: 203.0.113.7, port: 9042 }]')
    assert.throws(() => parseGatewayConfig(`${one}---\n${one}`, 'g.yaml'), {
      message: 'g.yaml:1:1: expected one document of kind Gateway, found 2',
    })
  })
})

describe('the faults of a policy', () => {
  const rule = (name: string, rest: string) =>
    `apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: ${name} }\nspec:\n  subjects: [{ spiffeId: "spiffe://d/x" }]\n${rest}`
  const binding =
    'apiVersion: ringfence.dev/v1alpha1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { role: reader, subjects: [{ spiffeId: "spiffe://d/x" }] }\n'
  const role = (rest: string) =>
    `apiVersion: ringfence.dev/v1alpha1\nkind: Role\nmetadata: { name: reader }\nspec:\n${rest}`
  const messageOf = (source: string): string => {
    try {
      loadPolicy(source, 'p.yaml')
      return ''
    } catch (reason) {
      return (reason as Error).message
    }
  }

  it('of form and of meaning are told at once', () => {
    const message = messageOf(
      [
        rule('one', '  keyspaces: [shop]\n  operatoins: [SELECT]\n'),
        rule('two', '  tables: [t]\n  operations: [SELECT]\n'),
        rule('two', '  keyspaces: [shop]\n  operations: [SELECT]\n'),
        'kind: [\n',
      ].join('---\n'),
    )
    assert.match(message, /unknown key "operatoins", did you mean "operations"/)
    assert.match(message, /"tables" without "keyspaces" can never match/)
    assert.match(message, /the name "two" is taken/)
    assert.equal(
      message.split('\n').filter((line) => /^p\.yaml:\d+:\d+: /.test(line)).length,
      message.split('\n').length,
    )
  })

  it('without what is only the echo of another', () => {
    assert.match(messageOf(binding), /unknown role "reader"/)
    const misspelt = messageOf(`${binding}---\n${role('  rulse: []\n')}`)
    assert.match(misspelt, /unknown key "rulse"/)
    assert.doesNotMatch(misspelt, /unknown role/)
  })
})
