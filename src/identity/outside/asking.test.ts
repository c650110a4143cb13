import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Asking } from './asking.ts'

const bounds = { askedMax: 2, waitingMax: 2 }

/** Questions that are answered when told. */
class Asked {
  readonly open: {
    readonly key: string
    readonly give: (answer: string) => void
    readonly fail: (reason: Error) => void
  }[] = []
  readonly asking: Asking<string>

  constructor(given = bounds) {
    this.asking = new Asking<string>('somebody', 4, given)
  }

  /** Of an address of its own, where it is not said. */
  of(key: string, nowMs = 0, endMs = 10, from = key): Promise<string> {
    const ask = (): Promise<string> => new Promise((give, fail) => this.open.push({ key, give, fail }))
    return this.asking.of(key, from, nowMs, ask, () => endMs)
  }

  async next(answer: string | Error): Promise<void> {
    const one = this.open.shift()
    if (typeof answer === 'string') one?.give(answer)
    else one?.fail(answer)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('questions to a server outside', () => {
  it('of one name are asked once, and the answer is remembered to its end', async () => {
    const asked = new Asked()
    const both = [asked.of('a'), asked.of('a')]
    await asked.next('yes')
    assert.deepEqual(await Promise.all(both), ['yes', 'yes'])
    assert.equal(await asked.of('a', 9), 'yes')
    const late = asked.of('a', 10)
    assert.equal(asked.open.length, 1)
    await asked.next('no')
    assert.equal(await late, 'no')
  })

  it('that nobody answered are asked again', async () => {
    const asked = new Asked()
    const first = asked.of('a')
    const refused = assert.rejects(first, /away/)
    await asked.next(new Error('away'))
    await refused
    const second = asked.of('a')
    await asked.next('yes')
    assert.equal(await second, 'yes')
  })

  it('wait their turn, so many and no more, whatever becomes of those before them', async () => {
    const asked = new Asked()
    const kept = ['a', 'b', 'c', 'd'].map((key) => asked.of(key).catch((reason: Error) => reason.message))
    await assert.rejects(asked.of('e'), { why: 'verifier-away' })
    assert.deepEqual(
      asked.open.map(({ key }) => key),
      ['a', 'b'],
    )
    await asked.next(new Error('away'))
    await asked.next('b!')
    assert.deepEqual(
      asked.open.map(({ key }) => key),
      ['c', 'd'],
    )
    await asked.next('c!')
    await asked.next('d!')
    assert.deepEqual(await Promise.all(kept), ['away', 'b!', 'c!', 'd!'])
    const more = ['f', 'g', 'h'].map((key) => asked.of(key))
    assert.equal(asked.open.length, 2)
    for (const answer of ['f!', 'g!', 'h!']) await asked.next(answer)
    assert.deepEqual(await Promise.all(more), ['f!', 'g!', 'h!'])
  })

  it('of one address leave places and room for those of others, and the addresses take turns', async () => {
    const asked = new Asked({ askedMax: 4, waitingMax: 8 })
    const flood = Array.from({ length: 100 }, (_, at) => asked.of(`f${at}`, 0, 10, 'flood'))
    const outcomes = flood.map((one) =>
      one.then(
        () => 'answered',
        ({ why }: { why: string }) => why,
      ),
    )
    const keys = (): string[] => asked.open.map(({ key }) => key)
    assert.deepEqual(keys(), ['f0', 'f1'], 'half of the places')
    const others = ['a', 'b', 'c', 'd'].map((key) => asked.of(key, 0, 10, key))
    assert.deepEqual(keys(), ['f0', 'f1', 'a', 'b'])
    const order: string[] = []
    for (let open = keys(); open.length > 0; open = keys()) {
      assert.ok(open.length <= 4 && open.filter((key) => key.startsWith('f')).length <= 2, open.join())
      order.push(open[0]!)
      await asked.next('yes')
    }
    assert.deepEqual(await Promise.all(others), ['yes', 'yes', 'yes', 'yes'])
    assert.ok(order.indexOf('d') < order.indexOf('f3'), order.join())
    const said = await Promise.all(outcomes)
    assert.equal(said.filter((one) => one === 'answered').length, 6)
    assert.equal(said.filter((one) => one === 'verifier-away').length, 94)
  })

  it('a server that throws at once takes no place', async () => {
    const asked = new Asked()
    for (let i = 0; i < 5; i++) {
      const thrown = asked.asking.of(
        `${i}`,
        '192.0.2.7',
        0,
        () => {
          throw new Error('no')
        },
        () => 10,
      )
      await assert.rejects(thrown, /no/)
    }
    const fine = asked.of('a')
    assert.equal(asked.open.length, 1)
    await asked.next('yes')
    assert.equal(await fine, 'yes')
  })
})
