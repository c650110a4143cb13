import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { GatewayLink } from './link.ts'
import { cheapest, type Locality, RemoteSidecar } from './remote-sidecar.ts'

interface Options {
  readonly dataCenter?: string
  readonly rack?: string
  readonly usable?: boolean
  readonly locality?: Locality
}

let sidecars = 0

function sidecar({ dataCenter = 'dc1', rack = 'rack1', usable = true, locality = {} }: Options = {}): RemoteSidecar {
  const name = `node${++sidecars}`
  const made = new RemoteSidecar(sidecars, {
    name,
    spiffeId: `spiffe://demo.local/${name}`,
    address: '127.0.0.1',
    port: 9042,
  })
  made.link = { usable, hello: { hostId: name, dataCenter, rack } } as unknown as GatewayLink
  made.introduce(locality)
  return made
}

/** So many requests under way at time 0. */
function busy(made: RemoteSidecar, inFlight: number): RemoteSidecar {
  for (let i = 0; i < inFlight; i++) made.load.sent(0)
  return made
}

describe('the sidecar that is asked', () => {
  it('is the least loaded; of equals the one with fewer sessions, then the first', () => {
    const [one, two, three] = [busy(sidecar(), 2), busy(sidecar(), 1), busy(sidecar(), 1)]
    assert.equal(cheapest([one, two, three], 0), two)
    two.load.primaries = 1
    assert.equal(cheapest([one, two, three], 0), three)
  })

  it('is none that has no link, is not ready or not there', () => {
    assert.equal(cheapest([], 0), undefined)
    assert.equal(cheapest([sidecar({ usable: false })], 0), undefined)
    const unlinked = sidecar()
    unlinked.link = undefined
    assert.equal(cheapest([unlinked], 0), undefined)
    const there = busy(sidecar(), 100)
    assert.equal(cheapest([unlinked, there, sidecar({ usable: false })], 0), there)
  })

  it('is one that was ejected only when there is no other', () => {
    const [bad, good] = [sidecar(), busy(sidecar(), 50)]
    for (let i = 0; i < 5; i++) bad.load.failed(0)
    assert.equal(cheapest([bad, good], 1), good)
    assert.equal(cheapest([bad], 1), bad)
  })

  it('is never one of another data centre, however idle', () => {
    const locality = { dataCenter: 'dc1' }
    const [near, far] = [busy(sidecar({ locality }), 1000), sidecar({ dataCenter: 'dc2', locality })]
    assert.equal(cheapest([far, near], 0), near)
    assert.equal(cheapest([far], 0), undefined, 'a coordinator there would mean another LOCAL_QUORUM')
    assert.equal(cheapest([sidecar({ dataCenter: 'dc2' })], 0)?.usable, true, 'unless the gateway was told no sidecar')
  })

  it('is one of its own rack until that is four times as busy', () => {
    const locality = { dataCenter: 'dc1', rack: 'rack1' }
    const [near, far] = [busy(sidecar({ locality }), 2), sidecar({ rack: 'rack2', locality })]
    assert.equal(cheapest([far, near], 0), near)
    busy(near, 2)
    assert.equal(cheapest([far, near], 0), far)
  })
})
