import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { allLoads, basicLoads, parseLoad } from './loads.ts'
import { parseOptions } from './options.ts'

describe('the command line of the bench', () => {
  const keysOf = (args: readonly string[]): string[] => parseOptions(args).loads.map(({ key }) => key)
  const seldomKeysOf = (args: readonly string[]): string[] => parseOptions(args).seldomLoads.map(({ key }) => key)

  const lengthOf = (args: readonly string[]): number[] => {
    const { rounds, seconds } = parseOptions(args)
    return [rounds, seconds]
  }

  it('measures the basic loads in each round, the others seldom and not in a quick run', () => {
    for (const args of [[], ['--quick']]) assert.deepEqual(keysOf(args), ['16x1', '128x1', '16x32', '1000x1'])
    assert.deepEqual(seldomKeysOf([]), ['16x1-10k', '16x32-10k', '16x1-tls', '128x1-tls', 'driver'])
    for (const args of [['--quick'], ['--loads', '16x1']]) assert.deepEqual(seldomKeysOf(args), [])
    assert.deepEqual(lengthOf([]), [15, 2])
    assert.deepEqual(lengthOf(['--quick']), [3, 2])
    assert.deepEqual(lengthOf(['--latte']), [40, 3])
    assert.deepEqual(parseOptions(['--dearest']).dearest, {
      runs: 3,
      floodSeconds: 60,
      only: undefined,
      profileDirectory: undefined,
    })
    assert.equal(parseOptions(['--dearest', '--only', 'rows']).dearest?.only, 'rows')
    assert.equal(parseOptions([]).dearest, undefined)
    assert.equal(parseOptions(['--latte']).connections, 8)
    assert.equal(parseOptions(['--quick']).output, undefined)
    assert.match(parseOptions([]).output ?? '', /results\.json$/)
  })

  it('gives every load TLS with --client-tls, each once, and the driver none', () => {
    assert.deepEqual(keysOf(['--client-tls', '--loads', '16x1,16x1-tls,128x1-10k,driver']), [
      '16x1-tls',
      '128x1-10k-tls',
      'driver',
    ])
    assert.deepEqual(seldomKeysOf(['--client-tls']), ['16x1-10k-tls', '16x32-10k-tls', 'driver'])
  })

  it('adds a row for a binary that is given', () => {
    const given = parseOptions(['--systems', 'mesh', '--cql-proxy', '/opt/cql-proxy', '--shotover', '/opt/shotover'])
    assert.deepEqual(given.systems, ['mesh', 'cql-proxy', 'shotover', 'shotover-passing'])
    assert.equal(given.cqlProxy, '/opt/cql-proxy')
    assert.deepEqual(parseOptions(['--systems', 'mesh']).systems, ['mesh'])
  })

  it('refuses a number that is none and an option that is none', () => {
    for (const bad of ['0', '-1', '1.5', 'two', ''])
      assert.throws(() => parseOptions(['--rounds', bad]), /--rounds/, bad)
    assert.throws(() => parseOptions(['--round', '1']))
    assert.equal(parseOptions(['--rounds', '12']).rounds, 12)
  })
})

describe('a load by its name', () => {
  it('is found again by its own key', () => {
    for (const load of allLoads) assert.deepEqual(parseLoad(load.key), load)
    assert.equal(new Set(allLoads.map(({ name }) => name)).size, allLoads.length)
  })

  it('says its shape, its rows and its TLS', () => {
    const { connections, inFlight, large, tls, name } = parseLoad('128x1-10k-tls')
    assert.deepEqual([connections, inFlight, large, tls, name], [128, 1, true, true, '128 × 1, 10 kB, TLS'])
    assert.ok(basicLoads.every((load) => !load.large && !load.tls))
  })

  it('takes a number of requests for the driver, over four connections at most', () => {
    const shapeOf = (key: string): number[] => [parseLoad(key).connections, parseLoad(key).inFlight]
    assert.deepEqual(shapeOf('driver'), [4, 16])
    assert.deepEqual(shapeOf('driver256'), [4, 64])
    assert.deepEqual(shapeOf('driver1'), [1, 1])
  })

  it('refuses what is not there', () => {
    for (const bad of [
      '',
      '16x2',
      '16',
      'x',
      '16x1-',
      '16x1-tls-10k',
      '16x1-tls-tls',
      '16x1-9k',
      'driver0',
      'driver-1',
      'drivers',
    ])
      assert.throws(() => parseLoad(bad), /no load/, bad)
  })
})
