import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { PolicyEngine } from '../policy/engine.ts'
import { loadPolicy } from '../policy/load.ts'
import type { RequestContext } from '../policy/request.ts'
import { batchFacts } from './batch.ts'
import { Judge } from './judged.ts'
import type { TouchedSchema } from './touched.ts'

const policy = `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: open-data }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/shop }]
  keyspaces: [open]
  operations: [READ, WRITE]
`
const noPolicy = policy.replace('keyspaces: [open]', 'keyspaces: [elsewhere]')

const noTables: TouchedSchema = { table: () => undefined, indexedTable: () => undefined }
const request: RequestContext = {
  clientAddress: '192.0.2.7',
  authentication: 'certificate',
  protocol: 4,
  preparing: false,
  consistency: 'ONE',
  rows: undefined,
  ttlSeconds: undefined,
  nowMs: 0,
}

function makeJudge() {
  const schema = { view: noTables, epoch: 0 }
  const engine = new PolicyEngine()
  const judge = new Judge(engine, schema, () => 0)
  engine.install(loadPolicy(policy, 'policy.yaml'), 1)
  const shop = judge.identity({ spiffeId: parseSpiffeId('spiffe://demo.local/svc/shop') })
  const verdict = (text: string, keyspace = ''): string =>
    judge.current(shop, judge.remembered(shop, text, keyspace) ?? judge.read(shop, text, keyspace), request).kind
  return { engine, judge, shop, schema, verdict }
}

describe('verdicts of a sidecar', () => {
  it('permit what the policy names, and deny the same in another keyspace', () => {
    const { verdict } = makeJudge()
    assert.equal(verdict('SELECT * FROM open.data'), 'permit')
    assert.equal(verdict('SELECT * FROM secret.data'), 'denial')
    assert.equal(verdict('SELECT * FROM data', 'open'), 'permit')
    assert.equal(verdict('SELECT * FROM data', 'secret'), 'denial')
    assert.throws(() => verdict('SELECT * FROM data'), /No keyspace has been specified/)
  })

  it('are taken again when the policy changes, for statements that are remembered', () => {
    const { engine, judge, shop, verdict } = makeJudge()
    const kept = judge.read(shop, 'SELECT * FROM open.data', '')
    assert.equal(judge.current(shop, kept, request).kind, 'permit')
    engine.install(loadPolicy(noPolicy, 'policy.yaml'), 2)
    assert.equal(judge.current(shop, kept, request).kind, 'denial')
    assert.equal(verdict('SELECT * FROM open.data'), 'denial')
    engine.install(loadPolicy(policy, 'policy.yaml'), 3)
    assert.equal(judge.current(shop, kept, request).kind, 'permit')
  })

  it('are taken again for another text under the same revision, as of a control plane that was restored', () => {
    const { engine, judge, shop } = makeJudge()
    const kept = judge.read(shop, 'SELECT * FROM open.data', '')
    assert.equal(judge.current(shop, kept, request).kind, 'permit')
    engine.install(loadPolicy(noPolicy, 'policy.yaml'), engine.revision)
    assert.equal(judge.current(shop, kept, request).kind, 'denial')
    engine.install(loadPolicy(policy, 'policy.yaml'), engine.revision)
    assert.equal(judge.current(shop, kept, request).kind, 'permit')
  })

  it('are not found under a keyspace that a client made up to end where a secret text begins', () => {
    // The v5 keyspace of a QUERY is any [string]; put together with its text it must not read as another pair.
    for (const separator of ['\0', ':', '', '\x01', '|']) {
      const { verdict } = makeJudge()
      const open = 'SELECT * FROM open.data\n'
      const secret = 'SELECT * FROM secret.data -- '
      for (const begin of ['', separator, `0${separator}`, `1${separator}`, `${secret.length}${separator}`]) {
        assert.equal(verdict(open, `${begin}${secret}${separator}`), 'permit')
        assert.equal(verdict(open, `${begin}${secret}`), 'permit')
      }
      assert.equal(verdict(`${secret}${separator}${open}`), 'denial')
      assert.equal(verdict(`${secret}${open}`), 'denial')
    }
  })

  it('belong to one identity', () => {
    const { judge, shop } = makeJudge()
    const stranger = judge.identity({ spiffeId: parseSpiffeId('spiffe://demo.local/svc/stranger') })
    const text = 'SELECT * FROM open.data'
    assert.equal(judge.current(shop, judge.read(shop, text, ''), request).kind, 'permit')
    assert.equal(judge.current(stranger, judge.read(stranger, text, ''), request).kind, 'denial')
    assert.notEqual(judge.identity(stranger.principal), shop)
    assert.equal(judge.identity(shop.principal), shop)
  })

  it('refuse what is no CQL with SYNTAX and its like, never with a permit', () => {
    const { verdict } = makeJudge()
    for (const text of ['', ';', 'SELECT', 'SELECT * FROM open.data; SELECT * FROM secret.data', 'HELLO WORLD', '\0']) {
      assert.throws(() => verdict(text), RingfenceError, text)
    }
  })

  it('allow USE where anything is allowed, and refuse it elsewhere', () => {
    const { judge, shop } = makeJudge()
    judge.mayUse(shop, 'open', request)
    for (const keyspace of ['secret', 'Open', 'open"; DROP TABLE x', '']) {
      assert.throws(() => judge.mayUse(shop, keyspace, request), RingfenceError, keyspace)
    }
  })
})

describe('facts of a BATCH', () => {
  it('name keyspace and table where all parts agree, and write equal parts once', () => {
    const { judge, shop } = makeJudge()
    const part = (text: string) => judge.read(shop, text, '')
    const insert = part("INSERT INTO open.data (k) VALUES ('x')")
    const facts = batchFacts([insert, insert, insert], 1)
    assert.equal(facts.keyspace, 'open')
    assert.equal(facts.table, 'data')
    assert.equal(facts.children.length, 3)
    assert.match(facts.redacted, /^BEGIN UNLOGGED BATCH INSERT .*\/\* 3 times \*\/ APPLY BATCH$/)
    assert.doesNotMatch(facts.redacted, /'x'/)
    const mixed = batchFacts([insert, part('DELETE FROM open.other WHERE k = 1')], 0)
    assert.equal(mixed.keyspace, 'open')
    assert.equal(mixed.table, undefined)
    assert.equal(batchFacts([insert, part('DELETE FROM secret.data WHERE k = 1')], 0).keyspace, undefined)
  })

  it('touch what any of its parts touches, by the schema of now', () => {
    const { judge, shop, schema } = makeJudge()
    const part = (text: string) => judge.read(shop, text, '')
    const parts = [part('DELETE FROM open.data WHERE k = 1'), part('DELETE FROM open.more WHERE k = 1')]
    const tables = () => judge.whole(batchFacts(parts, 0), '', [...parts, ...parts]).tables
    assert.deepEqual(tables(), ['open.data', 'open.more'])
    schema.view = { ...noTables, viewsOf: (_, table) => (table === 'more' ? ['by_v'] : []) }
    schema.epoch++
    assert.deepEqual(tables(), ['open.data', 'open.more', 'open.by_v'])
    assert.deepEqual(parts[1]!.tables, ['open.more', 'open.by_v'])
  })

  it('are refused when the record cannot tell all their tables, and let through when it can', () => {
    const { judge, shop } = makeJudge()
    const of = (count: number) =>
      Array.from({ length: count }, (_, i) =>
        judge.read(shop, `DELETE FROM open.table_with_a_name_${i} WHERE k = 1`, ''),
      )
    const untold = (count: number) => judge.untold(shop, judge.whole(batchFacts(of(count), 0), '', of(count)))
    assert.equal(untold(500), undefined)
    assert.equal(untold(1_000)?.rule, 'too-many-objects')
  })

  it('deny the whole when one part is denied, wherever it stands', () => {
    const { judge, shop } = makeJudge()
    const allowed = judge.read(shop, 'DELETE FROM open.data WHERE k = 1', '')
    const denied = judge.read(shop, 'DELETE FROM secret.data WHERE k = 1', '')
    const verdict = (parts: (typeof allowed)[]): string =>
      judge.current(shop, judge.whole(batchFacts(parts, 0), '', parts), request).kind
    assert.equal(verdict([allowed, allowed]), 'permit')
    for (const parts of [[denied], [denied, allowed], [allowed, denied], [allowed, denied, allowed]]) {
      assert.equal(verdict(parts), 'denial')
    }
    assert.equal(verdict([]), 'permit')
  })

  it('stay below the longest text that a record holds', () => {
    const { judge, shop } = makeJudge()
    const parts = Array.from({ length: 2000 }, (_, i) => judge.read(shop, `DELETE FROM open.data${i} WHERE k = 1`, ''))
    assert.ok(batchFacts(parts, 2).redacted.length <= 4096)
  })
})
