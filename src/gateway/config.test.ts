import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { parseGatewayConfig } from './config.ts'

const document = (spec: string): string => `apiVersion: ringfence.dev/v1alpha1
kind: Gateway
metadata: { name: g1 }
spec:
  control: { url: https://127.0.0.1:8443 }
  listeners: [{ address: 127.0.0.1, port: 9242 }]
${spec}
`
const parse = (spec: string) => parseGatewayConfig(document(spec), 'g.yaml')
const refused = (at: string) => (error: unknown) =>
  error instanceof RingfenceError && error.code === 'CONFIG' && error.message.startsWith(at)

describe('a gateway’s configuration', () => {
  it('brings advertised addresses to one way of writing, so that all gateways name a host alike', () => {
    const { advertise } = parse(
      "  advertise: [{ address: 203.0.113.7, port: 9042 }, { address: '2001:DB8:0:0::7', port: 9042 }]",
    )
    assert.deepEqual(
      advertise.map(({ address }) => address),
      ['203.0.113.7', '2001:db8::7'],
    )
  })

  it('refuses to advertise what another host cannot dial', () => {
    for (const address of ['localhost', 'fe80::1%eth0', '203.0.113.256', '']) {
      assert.throws(() => parse(`  advertise: [{ address: '${address}', port: 9042 }]`), refused('g.yaml:7:'), address)
    }
    assert.throws(() => parse('  advertise: []'), refused('g.yaml:7:'))
  })

  it('says where the gateway stands, or not', () => {
    const advertise = '  advertise: [{ address: 203.0.113.7, port: 9042 }]'
    assert.deepEqual(parse(advertise).locality, {})
    assert.deepEqual(parse(`${advertise}\n  locality: { dataCenter: dc2 }`).locality, { dataCenter: 'dc2' })
    assert.throws(() => parse(`${advertise}\n  locality: { datacenter: dc2 }`), refused('g.yaml:8:'))
  })

  it('says which Kubernetes API server is asked, or not', () => {
    const kubernetes = (text: string) =>
      parse(`  advertise: [{ address: 203.0.113.7, port: 9042 }]\n  kubernetes: ${text}`)
    assert.equal(parse('  advertise: [{ address: 203.0.113.7, port: 9042 }]').kubernetes, undefined)
    const { apiServer, tokenFile } = kubernetes('{ apiServer: "https://10.0.0.1:6443", tokenFile: /etc/token }')
      .kubernetes!
    assert.deepEqual([apiServer, tokenFile], ['https://10.0.0.1:6443', '/etc/token'])
    for (const text of ['{ apiServer: "http://10.0.0.1" }', '{ tokenFile: "" }', '{ token: abc }']) {
      assert.throws(() => kubernetes(text), refused('g.yaml:8:'), text)
    }
  })
})
