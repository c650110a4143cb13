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

  it('says where NGINX asks who is there, on loopback only, and for which workloads', () => {
    const http = (text: string) => parse(`  advertise: [{ address: 203.0.113.7, port: 9042 }]\n  http: ${text}`).http
    const shop = (more: string): string =>
      `{ address: 127.0.0.1, port: 9180, applications: [{ name: shop, workload: spiffe://demo.local/svc/web${more} }] }`
    const logIn = 'logIn: { issuer: "https://login.example.com", clientId: shop-web }'
    assert.equal(parse('  advertise: [{ address: 203.0.113.7, port: 9042 }]').http, undefined)
    assert.equal(http(shop(''))?.applications[0]?.logIn, undefined)
    assert.equal(http(shop(`, url: "https://shop.example.com", ${logIn}`))?.applications[0]?.logIn?.token, 'id')
    for (const text of [
      shop('').replace('127.0.0.1', '0.0.0.0'),
      shop('').replace('127.0.0.1', 'localhost'),
      shop('').replace('svc/web', 'ringfence/gateway/g'),
      shop('').replace('svc/web', 'user/corp/alice'),
      shop('').replace('name: shop', 'name: Shop'),
      shop(`, ${logIn}`),
      shop(`, url: "http://shop.example.com", ${logIn}`),
      shop(`, url: "https://shop.example.com/path", ${logIn}`),
      '{ address: 127.0.0.1, port: 9180, applications: [] }',
      '{ address: 127.0.0.1, port: 9180, applications: [{ name: a, workload: spiffe://d/a }, { name: a, workload: spiffe://d/b }] }',
    ])
      assert.throws(() => http(text), refused('g.yaml:8:'), text)
  })
})
