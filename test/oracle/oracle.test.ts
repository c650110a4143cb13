import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { isNativeFunction } from '../../src/cql/statement/functions.ts'
import { invalid, valid } from '../../src/cql/statement/statement.corpus.ts'
import { compare } from './compare.ts'
import { fuzz, fuzzLexer } from './fuzz-cql.ts'
import { Oracle, oracleMissing } from './oracle.ts'

const missing = oracleMissing()
// A machine without Java may skip this; the gate may not.
const skip =
  missing !== undefined && process.env.CI !== 'true' ? `Cassandra's parser cannot be asked: ${missing}` : false

describe("our parser against Cassandra's own", { skip }, () => {
  let oracle: Oracle
  before(() => {
    assert.equal(missing, undefined)
    oracle = new Oracle()
  })
  after(() => oracle?.stop())

  it('agrees on every statement written by hand', async () => {
    const texts = [...valid.map(([text]) => text), ...invalid]
    const answers = await oracle.parse(texts)
    const disagreements = texts.flatMap((text, at) => {
      const disagreement = compare(text, answers[at]!)
      return disagreement === undefined ? [] : [`${text}: ${disagreement.difference}, ${disagreement.detail}`]
    })
    assert.deepEqual(disagreements, [])
    assert.equal(answers.filter((answer) => answer.accepted).length, valid.length)
  })

  it('sees a disagreement where there is one', async () => {
    const [answer] = await oracle.parse(['SELECT a FROM ks.secret'])
    assert.match(compare('SELECT a FROM ks.open', answer!)?.detail ?? '', /^tables/)
    assert.match(compare('SELECT b FROM ks.secret', answer!)?.detail ?? '', /^columns/)
    const [write] = await oracle.parse(["INSERT INTO t (a, b) VALUES (1, 'x') USING TTL ?"])
    for (const other of [
      "INSERT INTO t (a, b) VALUES (1, 'y') USING TTL ?",
      "INSERT INTO t (b, a) VALUES (1, 'x') USING TTL ?",
      "INSERT INTO t (a, b) VALUES ('x', 1) USING TTL ?",
      "INSERT INTO t (a, b) VALUES (1, 'x') USING TIMESTAMP ?",
    ]) {
      assert.match(compare(other, write!)?.detail ?? '', /^details/, other)
    }
    assert.equal(compare("INSERT INTO t (a, b) VALUES (2, 'x') USING TTL ?", write!), undefined)
    const [schema] = await oracle.parse(["ALTER TABLE t WITH compaction = {'class': 'A', 'enabled': true}"])
    const named = (value: string): string => `ALTER TABLE t WITH compaction = {'class': '${value}', 'enabled': true}`
    assert.match(compare(named('B'), schema!)?.detail ?? '', /^details/)
    assert.match(compare(named('a.A'), schema!)?.detail ?? '', /^details/)
    assert.equal(compare(named('org.apache.cassandra.db.compaction.A'), schema!), undefined)
    const [refused] = await oracle.parse(['SELECT a FROM'])
    assert.equal(compare('SELECT a FROM t', refused!)?.difference, 'we accept')
  })

  it('never accepts what Cassandra rejects, nor reads it otherwise, in 100,000 statements at random', async () => {
    const { accepted, differences, examples } = await fuzz(oracle, 100_000, 20_261)
    assert.ok(accepted > 25_000, `only ${accepted} statements were valid`)
    assert.equal(differences.get('we accept') ?? 0, 0, examples.join('\n'))
    assert.equal(differences.get('facts') ?? 0, 0, examples.join('\n'))
    assert.ok((differences.get('we reject') ?? 0) <= 100, examples.join('\n'))
  })

  it('cuts 20,000 texts of touching tokens as Cassandra does', async () => {
    assert.deepEqual(await fuzzLexer(oracle, 20_000, 20_262), [])
  })

  it('knows the native functions', async () => {
    const names = (await oracle.nativeFunctions()).filter((name) => !name.startsWith('_'))
    assert.ok(names.length > 100)
    assert.deepEqual(
      names.filter((name) => !isNativeFunction(undefined, name)),
      [],
    )
  })
})
