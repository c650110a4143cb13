import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { wholeEnvelope } from '../cql/envelope.ts'
import { readEvent } from '../cql/responses.ts'
import type { GatewayEndpoint } from '../mesh/endpoints.ts'
import type { Client } from '../session/backend.ts'
import { GatewayList } from './gateway-list.ts'
import { Localities } from './locality.ts'

const self = 'spiffe://d/ringfence/gateway/one'
const own = { address: '10.0.0.1', port: 9042 }
const all = ['TOPOLOGY_CHANGE', 'STATUS_CHANGE', 'SCHEMA_CHANGE']

function gateway(name: string, address: string, change: Partial<GatewayEndpoint> = {}): GatewayEndpoint {
  return { name, spiffeId: `spiffe://d/ringfence/gateway/${name}`, address, port: 9042, ...change }
}
const one = gateway('one', own.address)
const two = gateway('two', '10.0.0.2')
const three = gateway('three', '10.0.0.3')

function make(...gateways: GatewayEndpoint[]): { list: GatewayList; localities: Localities } {
  const localities = new Localities()
  localities.announced('n1', { dataCenter: 'dc1', rack: 'r1' })
  const list = new GatewayList([own], self, localities)
  list.setGateways(gateways)
  return { list, localities }
}

/** Keeps what it is sent; everything else of a client is not for the list to touch. */
function listener(): { client: Client; events: Buffer[]; words: () => string[] } {
  const events: Buffer[] = []
  const never = (): never => assert.fail('an event is not an answer')
  const client: Client = {
    drain() {},
    info: {} as Client['info'],
    account: {} as Client['account'],
    answer: never,
    fault: never,
    close: never,
    pause: never,
    halt: never,
    event: (buffer, start, end) => void events.push(Buffer.from(buffer.subarray(start, end))),
  }
  const words = (): string[] =>
    events.splice(0).map((event) => {
      const read = readEvent(wholeEnvelope(event))
      assert.ok(read.type !== 'SCHEMA_CHANGE')
      return `${read.type} ${read.change} ${read.address}:${read.port}`
    })
  return { client, events, words }
}

const came = (address: string): string[] => [
  `TOPOLOGY_CHANGE NEW_NODE ${address}:9042`,
  `STATUS_CHANGE UP ${address}:9042`,
]
const down = (address: string): string[] => [`STATUS_CHANGE DOWN ${address}:9042`]
const removed = (address: string): string[] => [`TOPOLOGY_CHANGE REMOVED_NODE ${address}:9042`]
const went = (address: string): string[] => [...down(address), ...removed(address)]
const addressesOf = (list: GatewayList): string[] => list.hosts.map(({ address }) => address)

describe('the list of gateways', () => {
  it('has its own addresses always, those of others while they are told, and each once', () => {
    const { list } = make()
    assert.deepEqual(addressesOf(list), ['10.0.0.1'])
    list.setGateways([one, two, gateway('three', '10.0.0.2'), three])
    assert.deepEqual(addressesOf(list), ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
    list.setGateways([])
    assert.deepEqual(addressesOf(list), ['10.0.0.1'])
  })

  it('tells who registered what came and what went, and of a change that is none nothing', () => {
    const { list } = make(one)
    const { client, words } = listener()
    list.register(client, 4, all)
    list.setGateways([one, two])
    assert.deepEqual(words(), came('10.0.0.2'))
    list.setGateways([two, one])
    assert.deepEqual(words(), [])
    list.setGateways([one, three])
    assert.deepEqual(words(), [...came('10.0.0.3'), ...went('10.0.0.2')])
    list.forget(client)
    list.setGateways([one])
    assert.deepEqual(words(), [])
  })

  it('keeps an address that two gateways advertise until the second goes', () => {
    const shared = gateway('three', '10.0.0.2')
    const { list } = make(one, two, shared)
    const { client, words } = listener()
    list.register(client, 4, all)
    list.setGateways([one, shared])
    assert.deepEqual(words(), [])
    list.setGateways([one])
    assert.deepEqual(words(), went('10.0.0.2'))
  })

  it('tells that one which leaves in order is down, and that it is gone when it has ended', () => {
    const leaving = gateway('two', '10.0.0.2', { leaving: true })
    const shared = gateway('four', '10.0.0.2')
    // What is told of 10.0.0.2 at each list that comes, one after the other.
    const stories: [GatewayEndpoint[], string[]][][] = [
      [
        [[one, two], came('10.0.0.2')],
        [[one, leaving], down('10.0.0.2')],
        [[one, leaving], []],
        [[one], removed('10.0.0.2')],
      ],
      // It comes back before it has ended; it was never there; it dies.
      [
        [[one, two], came('10.0.0.2')],
        [[one, leaving], down('10.0.0.2')],
        [[one, two], ['STATUS_CHANGE UP 10.0.0.2:9042']],
      ],
      [
        [[one, leaving], []],
        [[one], removed('10.0.0.2')],
      ],
      [
        [[one, two], came('10.0.0.2')],
        [[one], went('10.0.0.2')],
      ],
      // Another gateway stays at the address.
      [
        [[one, two, shared], came('10.0.0.2')],
        [[one, leaving, shared], []],
        [[one, shared], []],
        [[one], went('10.0.0.2')],
      ],
      [
        [[one, shared, leaving], came('10.0.0.2')],
        [[one, leaving], down('10.0.0.2')],
        [[one], removed('10.0.0.2')],
      ],
    ]
    for (const story of stories) {
      const { list } = make(one)
      const { client, words } = listener()
      list.register(client, 4, all)
      for (const [gateways, told] of story) {
        list.setGateways(gateways)
        assert.deepEqual(words(), told)
        const isThere = gateways.some(({ address }) => address === '10.0.0.2')
        assert.equal(addressesOf(list).includes('10.0.0.2'), isThere, 'as a node that is down is among its peers')
      }
    }
  })

  it('has told already when an event leaves', () => {
    const { list } = make(one)
    const { client } = listener()
    const seen: string[][] = []
    list.register({ ...client, event: () => void seen.push(addressesOf(list)) }, 4, ['TOPOLOGY_CHANGE'])
    list.setGateways([one, two])
    list.setGateways([one])
    assert.deepEqual(seen, [['10.0.0.1', '10.0.0.2'], ['10.0.0.1']])
  })

  it('sends of each kind of event only what a client asked for', () => {
    const { list } = make(one)
    const listeners = [['TOPOLOGY_CHANGE'], ['STATUS_CHANGE'], ['SCHEMA_CHANGE']].map((types) => {
      const each = listener()
      list.register(each.client, 5, types)
      return each
    })
    list.setGateways([one, two])
    assert.deepEqual(
      listeners.map(({ words }) => words()),
      [['TOPOLOGY_CHANGE NEW_NODE 10.0.0.2:9042'], ['STATUS_CHANGE UP 10.0.0.2:9042'], []],
    )
  })

  // native_protocol_v3/v4/v5.spec §2 (header) and §4.2.6: [string] type, [string] change, [inet] with its port.
  for (const version of [3, 4, 5] as const) {
    it(`writes version ${version} as the specification lays it out`, () => {
      const { list } = make(one)
      const { client, events } = listener()
      list.register(client, version, all)
      list.setGateways([one, two, gateway('three', '2001:db8::7', { port: 9142 })])
      const string = (text: string): Buffer => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)])
      const event = (type: string, change: string, inet: number[]): Buffer => {
        const body = Buffer.concat([string(type), string(change), Buffer.from(inet)])
        return Buffer.concat([Buffer.from([0x80 | version, 0, 0xff, 0xff, 0x0c, 0, 0, 0, body.length]), body])
      }
      const four = [4, 10, 0, 0, 2, 0, 0, 0x23, 0x52]
      const six = [16, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0x23, 0xb6]
      assert.deepEqual(events, [
        event('TOPOLOGY_CHANGE', 'NEW_NODE', four),
        event('STATUS_CHANGE', 'UP', four),
        event('TOPOLOGY_CHANGE', 'NEW_NODE', six),
        event('STATUS_CHANGE', 'UP', six),
      ])
    })
  }
})

describe('a gateway that leaves', () => {
  it('tells its clients that its own addresses go, and still answers with them who asks it', () => {
    const { list } = make(one, two)
    const { client, words } = listener()
    list.register(client, 4, all)
    assert.equal(list.leave(), true)
    assert.deepEqual(words(), down('10.0.0.1'))
    assert.deepEqual(addressesOf(list), ['10.0.0.1', '10.0.0.2'])
    // The control plane heard of it too.
    list.setGateways([{ ...one, leaving: true }, two])
    assert.deepEqual(words(), [])
    list.setGateways([two, three])
    assert.deepEqual(words(), came('10.0.0.3'))
    list.left()
    assert.deepEqual(words(), removed('10.0.0.1'))
    assert.deepEqual(addressesOf(list), ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
    list.left()
    assert.deepEqual(words(), [])
  })

  it('tells nothing where another has the same address, or where there is nobody else to go to', () => {
    const alsoLeaving = { ...two, leaving: true }
    for (const others of [[one], [one, gateway('two', own.address)], [], [one, alsoLeaving]]) {
      const { list } = make(...others)
      const { client, words } = listener()
      list.register(client, 4, all)
      assert.equal(list.leave(), false)
      list.left()
      assert.deepEqual(words(), [])
    }
    const { list } = make(one, gateway('two', own.address), three)
    const { client, words } = listener()
    list.register(client, 4, all)
    assert.equal(list.leave(), false)
    assert.deepEqual(words(), [])
  })

  it('leaves though nobody registered here: drivers register at one gateway and send requests to all', () => {
    assert.equal(make(one, two).list.leave(), true)
  })
})

describe('the place of a host', () => {
  it('is where its gateway’s configuration says, else the first data centre of all sidecars', () => {
    const { list, localities } = make(one, gateway('two', '10.0.0.2', { dataCenter: 'dc9', rack: 'r9' }), three)
    localities.announced('n2', { dataCenter: 'dc0', rack: 'r0' })
    assert.deepEqual(
      list.hosts.map(({ address, dataCenter, rack }) => `${address} ${dataCenter} ${rack}`),
      ['10.0.0.1 dc0 r0', '10.0.0.2 dc9 r9', '10.0.0.3 dc0 r0'],
    )
  })

  it('is the same from whichever gateway of a shared address one asks', () => {
    const west = gateway('one', own.address, { dataCenter: 'west' })
    const east = gateway('two', own.address, { dataCenter: 'east' })
    const places = [west, east].map(({ spiffeId, dataCenter }) => {
      const list = new GatewayList([own], spiffeId, new Localities({ dataCenter }))
      list.setGateways([west, east])
      return list.hosts
    })
    assert.deepEqual(places[0], places[1])
    assert.deepEqual(places[0], [{ ...own, dataCenter: 'east', rack: 'rack1' }])
  })
})

describe('localities', () => {
  it('does not change when sidecars come in another order, are told again or are away', () => {
    const forwards = new Localities()
    forwards.announced('a', { dataCenter: 'dc1', rack: 'r2' })
    forwards.announced('b', { dataCenter: 'dc2', rack: 'r1' })
    forwards.announced('c', { dataCenter: 'dc1', rack: 'r1' })
    const backwards = new Localities()
    backwards.reported('c', { dataCenter: 'dc1', rack: 'r1' })
    backwards.reported('b', { dataCenter: 'dc2', rack: 'r1' })
    assert.deepEqual(forwards.own, { dataCenter: 'dc1', rack: 'r1' })
    assert.deepEqual(backwards.own, forwards.own)
  })

  it('believes a node more than its sidecar’s configuration', () => {
    const localities = new Localities()
    localities.announced('a', { dataCenter: 'wrong', rack: 'r1' })
    localities.reported('a', { dataCenter: 'yes', rack: 'r2' })
    localities.announced('a', { dataCenter: 'wrong', rack: 'r1' })
    assert.deepEqual(localities.own, { dataCenter: 'yes', rack: 'r2' })
    localities.reported('a', { dataCenter: '', rack: '' })
    assert.deepEqual(localities.own, { dataCenter: 'yes', rack: 'r2' })
  })

  it('is what is configured where something is', () => {
    const localities = new Localities({ dataCenter: 'dc2' })
    localities.announced('a', { dataCenter: 'dc1', rack: 'r1' })
    assert.deepEqual(localities.own, { dataCenter: 'dc2', rack: 'rack1' })
    localities.announced('b', { dataCenter: 'dc2', rack: 'r7' })
    assert.deepEqual(localities.own, { dataCenter: 'dc2', rack: 'r7' })
    assert.deepEqual(new Localities({ dataCenter: 'dc2', rack: 'r3' }).own, { dataCenter: 'dc2', rack: 'r3' })
  })
})
