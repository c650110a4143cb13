import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../base/limits.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { Analyst } from './analyst.ts'

describe('the thread that reads long statements', () => {
  const analyst = new Analyst()
  after(() => analyst.stop())

  it('says what this thread would say', async () => {
    const texts = ['SELECT * FROM a.b WHERE k = ?', `INSERT INTO a.b (k) VALUES ('${'x'.repeat(100_000)}')`]
    const analysed = await analyst.analyse(texts)
    assert.deepEqual(
      analysed,
      texts.map((text) => ({ facts: analyse(text) })),
    )
  })

  it('gives refusals as the statement deserves them', async () => {
    const deep = `SELECT ${'('.repeat(100)}a${')'.repeat(100)} FROM a.b`
    const [syntax, invalid, good] = await analyst.analyse(['SELEC', deep, 'USE a'])
    assert.ok(syntax && 'code' in syntax && syntax.code === 'SYNTAX')
    assert.ok(invalid && 'code' in invalid && invalid.code === 'INVALID')
    assert.ok(good && 'facts' in good)
  })

  it('sheds what is more than longStatementsWaitingMax', async () => {
    const text = `SELECT * FROM a.b WHERE k IN (${'1,'.repeat(30_000)}1)`
    const asked = Array.from({ length: limits.longStatementsWaitingMax + 1 }, () => analyst.analyse([text]))
    const outcomes = await Promise.allSettled(asked)
    assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 1)
    const refused = outcomes.at(-1)
    assert.ok(refused?.status === 'rejected' && /longStatementsWaitingMax/.test(String(refused.reason)))
  })

  it('is there from the first long statement until none came for a while, and begins again', async () => {
    const passing = new Analyst(300)
    assert.equal(passing.running, false)
    for (let i = 0; i < 2; i++) {
      const [answer] = await passing.analyse(['USE a'])
      assert.ok(answer && 'facts' in answer)
      assert.equal(passing.running, true)
      await sleep(600)
      assert.equal(passing.running, false)
    }
    passing.stop()
  })

  it('that dies over a statement takes only what waited with it', async () => {
    const mortal = new Analyst()
    const notText = undefined as unknown as string
    const [dead, behind] = await Promise.allSettled([mortal.analyse([notText]), mortal.analyse(['USE a'])])
    assert.ok(dead.status === 'rejected' && /could not be read/.test(String(dead.reason)))
    assert.ok(behind.status === 'rejected')
    const [answer] = await mortal.analyse(['USE a'])
    assert.ok(answer && 'facts' in answer)
    mortal.stop()
  })
})
