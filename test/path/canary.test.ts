/**
 * Literals and bound values in every place of every kind of statement, refused in every way that the node knows with the value in its words:
 * neither the record nor the log may have one.
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it, suite } from 'node:test'
import { printable } from '../../src/base/printable.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { type RunningSidecar, World } from './world.ts'

const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice-everything }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: ["*"]
  functions: ["*.*"]
  cluster: true
  operations: [ALL]
`
/** Each tells itself apart, whatever becomes of its case. */
const word = 'kanarienvogel'
const numberText = '4929123456789'
const hex = Buffer.from(word).toString('hex')
const traces = [word, numberText, hex, '4929-1234', '4929.1234']

/** `$` is a string, `#` a number, `~` a blob. */
const statements = [
  "INSERT INTO shop.items (k, v) VALUES ('$', 'x')",
  "INSERT INTO shop.items (k, v) VALUES ('x', $$ $ $$)",
  `INSERT INTO shop.items JSON '{"k":1,"m":"\\"Mrs (Smith) diagnosed with $\\""}'`,
  'INSERT INTO shop.items JSON \'{"k":"O\'\'$"}\' DEFAULT UNSET',
  "INSERT INTO shop.items (k, v) VALUES ('x', 'y') USING TTL # AND TIMESTAMP #",
  "INSERT INTO shop.items (k, v) VALUES (fromJson('$'), ~)",
  "UPDATE shop.items USING TTL # SET v = '$' WHERE k = '$' IF v = '$'",
  "UPDATE shop.items SET v = v + ['$'], w = {'$': #}, u = {a: '$', b: (#, '$')} WHERE k IN ('$', '$')",
  "DELETE v['$'] FROM shop.items USING TIMESTAMP # WHERE k = '$' IF EXISTS",
  "SELECT * FROM shop.items WHERE k = '$' AND v CONTAINS '$' AND w LIKE '$%' LIMIT # ALLOW FILTERING",
  "SELECT '$', #, ~, (text)'$', f('$') FROM shop.items WHERE token(k) > token('$') PER PARTITION LIMIT #",
  'SELECT * FROM shop.items WHERE k = -# AND n = #.# AND m = #e10',
  "SELECT * FROM shop.items WHERE k = '$' -- $",
  "SELECT * FROM shop.items /* $ */ WHERE k = '$' // $",
  "BEGIN BATCH USING TIMESTAMP # INSERT INTO shop.items (k) VALUES ('$'); DELETE FROM shop.items WHERE k = '$'; APPLY BATCH",
  "CREATE TABLE shop.t (k text PRIMARY KEY) WITH comment = '$' AND compaction = {'class': 'SizeTieredCompactionStrategy', 'x': '$'} AND default_time_to_live = #",
  "ALTER TABLE shop.items WITH comment = '$'",
  "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '$'}",
  "CREATE CUSTOM INDEX i ON shop.items (v) USING 'StorageAttachedIndex' WITH OPTIONS = {'x': '$'}",
  'CREATE FUNCTION shop.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS \'return "$";\'',
  'CREATE FUNCTION shop.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ $ $$',
  "CREATE AGGREGATE shop.a (int) SFUNC f STYPE text INITCOND '$'",
  "CREATE ROLE r WITH PASSWORD = '$' AND OPTIONS = {'x': '$'} AND LOGIN = true",
  "ALTER ROLE r WITH HASHED PASSWORD = '$'",
  "CREATE USER u WITH PASSWORD '$'",
  "ADD IDENTITY '$' TO ROLE 'r'",
  // What the mesh itself cannot read.
  "SELECT * FROM shop.items WHERE k = '$",
  "SELECT * FROM shop.items WHERE k = '$' '$'",
  "SELECT * FROM shop.items WHERE '$' = k $",
  "INSERT INTO shop.items (k) VALUES ('x') $",
  'SELECT * FROM shop.items WHERE k = # # ~',
  '$ # ~',
  'CREATE ROLE r WITH PASSWORD = $',
]

const refusals: readonly (readonly [code: number, message: string])[] = [
  [CqlErrorCode.INVALID, 'Could not decode JSON string as a map: Unexpected character (@). (String was: @)'],
  [CqlErrorCode.INVALID, "Unable to coerce '@' to a formatted date (long)"],
  [CqlErrorCode.INVALID, 'Invalid STRING constant (@) for "age" of type int'],
  [CqlErrorCode.SYNTAX_ERROR, "line 1:42 no viable alternative at input '@' ([SELECT] * '@')"],
  [CqlErrorCode.SERVER_ERROR, 'java.lang.RuntimeException: @'],
  [CqlErrorCode.TRUNCATE_ERROR, "execution of 'shop.f[int]' failed: @"],
  [CqlErrorCode.UNAUTHORIZED, 'User @ has no MODIFY permission on <table @>'],
  [CqlErrorCode.CONFIG_ERROR, '@'],
  [CqlErrorCode.INVALID, "@' in table '@"],
]

const filled = (text: string): string =>
  text
    .replaceAll(/\$(?!\$)(?<!\$\$)/g, () => word)
    .replaceAll('#', numberText)
    .replaceAll('~', `0x${hex}`)

for (const format of ['lines', 'sealed'] as const) suiteOf(format)

function suiteOf(format: 'lines' | 'sealed'): void {
  suite(`in the record as ${format}`, () => {
    let world: World
    let running: RunningSidecar
    let refusal = 0

    before(async () => {
      world = await World.make()
      running = await world.sidecar({ policy: policyText, audit: { format } })
      running.node.intercept = ({ opcode, text, reply }) => {
        if (opcode === Opcode.PREPARE || text.startsWith('USE')) return false
        const [code, message] = refusals[refusal++ % refusals.length]!
        const disguise = [word, `'${word}'`, `O'${word}`, `") ${word} (`, numberText, `0x${hex}`][refusal % 6]!
        const said = message.replaceAll('@', disguise)
        reply(errorEnvelope(4, 0, code, said))
        return true
      }
    })
    after(() => world.close())

    const written = (): string => {
      const { auditDirectory } = running
      return readdirSync(auditDirectory, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile())
        .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
        .join('')
    }

    suite('no value is in the record or the log', () => {
      it('of a text, sent or prepared, alone or in a BATCH', async () => {
        const alice = await world.client(running.port, 'alice')
        for (const text of statements.map(filled)) {
          for (let round = 0; round < refusals.length; round++) await alice.ask(queryEnvelope(4, 1, text))
          await alice.ask(prepareEnvelope(4, 2, text))
          await alice.ask(batchEnvelope(4, 3, 0, [{ text, values: [] }]))
        }
        alice.close()
      })

      it('that was bound, to a text or to a prepared statement', async () => {
        const alice = await world.client(running.port, 'alice')
        const text = 'INSERT INTO shop.items (k, v) VALUES (?, ?)'
        const answer = await alice.ask(prepareEnvelope(4, 2, text))
        const { id } = readPrepared(wholeEnvelope(answer), 4)
        for (const value of [word, numberText, `'${word}'`, `{"a": "${word}"}`]) {
          const values = [Buffer.from(value), Buffer.from(value)]
          for (let round = 0; round < refusals.length; round++) {
            await alice.ask(queryEnvelope(4, 1, text, { values }))
            await alice.ask(executeEnvelope(4, 3, id, undefined, values)).catch(() => {})
            await alice.ask(batchEnvelope(4, 4, 0, [{ id, values }])).catch(() => {})
          }
        }
        alice.close()
      })

      it('and each is told of in words that say what happened', async () => {
        const bytes = written().toLowerCase()
        for (const trace of traces) assert.ok(!bytes.includes(trace), trace)
        const lines = running.records().map((line) => JSON.stringify(line))
        const record = lines.join('\n')
        assert.ok(lines.length > statements.length * refusals.length)
        for (const line of lines) {
          assert.equal(printable(line), line)
          for (const trace of traces) assert.ok(!line.toLowerCase().includes(trace), line)
        }
        for (const line of world.logged)
          for (const trace of traces) assert.ok(!line.toLowerCase().includes(trace), line)
        assert.match(record, /"message":"Could not decode JSON string as a map:"/)
        assert.match(record, /"message":"line \?:\? no viable alternative at"/)
        assert.match(record, /"message":"SERVER_ERROR: a text of \d+ bytes, which is not kept"/)
      })
    })
  })
}
