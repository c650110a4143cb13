import assert from 'node:assert/strict'
import { after, before, describe, it, mock } from 'node:test'
import { Worker } from 'node:worker_threads'
import { faultsContained } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import { Assembly } from '../base/thread-copy.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { Analyst } from './analyst.ts'

const anna = {}
const ben = {}

describe('the thread that reads long statements', () => {
  const analyst = new Analyst()
  before(() => analyst.start())
  after(() => analyst.stop())

  it('says what this thread would say', async () => {
    const texts = ['SELECT * FROM a.b WHERE k = ?', `INSERT INTO a.b (k) VALUES ('${'x'.repeat(100_000)}')`]
    const analysed = await analyst.analyse(texts, anna)
    assert.deepEqual(
      analysed,
      texts.map((text) => ({ facts: analyse(text) })),
    )
  })

  const list = (count: number, item: (at: number) => string, between = ','): string =>
    Array.from({ length: count }, (_, at) => item(at)).join(between)
  const long: Readonly<Record<string, string>> = {
    relations: `SELECT v FROM a.b WHERE ${list(8_000, (at) => `c${at} = ${at === 9 ? '?' : at}`, ' AND ')}`,
    values: `INSERT INTO a.b (${list(8_000, (at) => `c${at}`)}) VALUES (${list(8_000, () => '1')})`,
    columns: `SELECT ${list(8_000, (at) => `"C${at}"`)} FROM a.b`,
    statements: `BEGIN BATCH ${list(2_500, (at) => `INSERT INTO a.b (k, v) VALUES ('${at % 700}', 1) USING TTL ${at}`, ' ')} APPLY BATCH`,
    alike: `BEGIN BATCH ${list(8_000, (at) => `INSERT INTO a.b (k, v) VALUES (${at}, 1)`, ' ')} APPLY BATCH`,
  }
  for (const [name, text] of Object.entries(long)) {
    it(`says what this thread would say of a text with many ${name}`, async () => {
      assert.deepEqual(await analyst.analyse([text], anna), [{ facts: analyse(text) }])
    })
  }

  it('says it to each, in order, where long and short ones wait', async () => {
    const texts = [...Object.values(long), 'USE a', long.relations!, 'USE b']
    const all = await Promise.all(texts.map((text) => analyst.analyse([text], anna)))
    assert.deepEqual(
      all,
      texts.map((text) => [{ facts: analyse(text) }]),
    )
  })

  it('gives refusals as the statement deserves them', async () => {
    const deep = `SELECT ${'('.repeat(100)}a${')'.repeat(100)} FROM a.b`
    const [syntax, invalid, good] = await analyst.analyse(['SELEC', deep, 'USE a'], anna)
    assert.ok(syntax && 'code' in syntax && syntax.code === 'SYNTAX')
    assert.ok(invalid && 'code' in invalid && invalid.code === 'INVALID')
    assert.ok(good && 'facts' in good)
  })

  it('sheds what one identity has more than longStatementsWaitingMax, and reads what others have in turn', async () => {
    const text = `SELECT * FROM a.b WHERE k IN (${'1,'.repeat(30_000)}1)`
    const max = limits.longStatementsWaitingMax
    const order: string[] = []
    const ask = (who: object, name: string): Promise<unknown> =>
      analyst.analyse([text], who).then(() => order.push(name))
    // Two are with the thread already.
    const asked = Array.from({ length: max + 5 }, (_, at) => ask(anna, `a${at}`))
    const others = [ask(ben, 'ben'), ask({}, 'cleo')]
    const outcomes = await Promise.allSettled(asked)
    const refused = outcomes.filter((one) => one.status === 'rejected')
    assert.equal(refused.length, 3)
    for (const { reason } of refused) assert.match(String(reason), /longStatementsWaitingMax/)
    await Promise.all(others)
    assert.ok(order.indexOf('ben') < 6 && order.indexOf('cleo') < 6, order.join())
  })

  it('ends with what waits for it by a message that cannot be taken, and another one reads on', async () => {
    const on = mock.method(Worker.prototype, 'on')
    const other = new Analyst()
    other.start()
    const [, onMessage] = on.mock.calls.find(({ arguments: [event] }) => event === 'message')!.arguments
    mock.restoreAll()
    const waiting = other.analyse(['USE a'], anna)
    const behind = other.analyse(['USE c'], ben)
    const before = faultsContained()
    onMessage(undefined)
    assert.equal(faultsContained(), before + 1)
    await assert.rejects(waiting, { code: 'OVERLOADED' })
    assert.equal((await behind).length, 1, 'what it did not die over is read by another one')
    const [read] = await other.analyse(['USE b'], anna)
    assert.ok(read && 'facts' in read)
    other.stop()
  })

  /** An analyst whose threads are told of as they begin, and end when one says so. */
  function watched(onHead: (end: () => void, heads: number) => void): Analyst {
    const other = new Analyst()
    const on = mock.method(Worker.prototype, 'on', function (this: Worker, event: string, listener: () => void) {
      if (event !== 'message' || this.listenerCount(event) > 0) return this.addListener(event, listener)
      this.addListener(event, listener)
      let heads = 0
      return this.addListener(event, () =>
        onHead(() => {
          void this.terminate()
          this.emit('exit', 1)
        }, ++heads),
      )
    })
    other.start()
    on.mock.restore()
    return other
  }

  it('blames for its end what it had not read, and reads again what was on its way', async () => {
    let threads = 0
    const other = watched((end, heads) => {
      if (heads === 1 && ++threads === 1) end()
    })
    const [read, unread] = await Promise.allSettled([
      other.analyse([long.relations!], anna),
      other.analyse(['USE b'], ben),
    ])
    other.stop()
    assert.equal(read.status, 'fulfilled')
    assert.deepEqual(read.value, [{ facts: analyse(long.relations!) }])
    assert.equal(unread.status, 'rejected')
    assert.match(String(unread.reason), /the statement could not be read/)
  })

  it('blames for a piece that cannot be taken whose it is', async () => {
    const other = new Analyst()
    other.start()
    const put = mock.method(Assembly.prototype, 'put')
    put.mock.mockImplementationOnce(() => {
      throw new Error('not to be put')
    }, 2)
    const first = other.analyse([long.relations!], anna)
    const second = other.analyse([long.values!], ben)
    const before = faultsContained()
    const [broken, good] = await Promise.allSettled([first, second])
    mock.restoreAll()
    other.stop()
    assert.equal(faultsContained(), before + 1)
    assert.equal(broken.status, 'rejected')
    assert.equal(good.status, 'fulfilled')
    assert.deepEqual(good.value, [{ facts: analyse(long.values!) }])
  })

  it('does not read for ever what no thread comes to the end of', async () => {
    const on = mock.method(Worker.prototype, 'on')
    let threads = 0
    const worker = (): Worker => on.mock.calls.findLast(({ arguments: [event] }) => event === 'exit')!.this as Worker
    const other = new Analyst()
    other.start()
    const asked = other.analyse([long.relations!], anna)
    const outcome = Promise.allSettled([asked]).then(([one]) => one)
    for (let done = false; !done; ) {
      const thread = worker()
      const head = new Promise<void>((resolve) => thread.once('message', resolve))
      const ended = await Promise.race([head.then(() => false), outcome.then(() => true)])
      if (ended) done = true
      else {
        threads++
        void thread.terminate()
        thread.emit('exit', 1)
      }
    }
    mock.restoreAll()
    other.stop()
    assert.equal((await outcome)!.status, 'rejected')
    assert.equal(threads, 3)
  })
})
