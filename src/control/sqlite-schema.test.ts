import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { migrations, openDatabase } from './sqlite-schema.ts'

/** Columns and indexes of all tables. */
function shapeOf(db: DatabaseSync): unknown {
  const tables = db.prepare(`SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name`).all()
  return tables.map(({ name }) => [name, db.prepare(`PRAGMA table_info(${String(name)})`).all()])
}

describe('a store of an older program', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-schema-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (let version = 1; version <= migrations.length; version++) {
    it(`becomes one of this: version ${version}`, () => {
      const path = join(folder, `${version}.db`)
      const old = new DatabaseSync(path)
      old.exec(`${migrations.slice(0, version).join(';')}; PRAGMA user_version = ${version}`)
      old.close()
      const [taken, made] = [openDatabase(path), openDatabase(join(folder, `new-${version}.db`))]
      assert.deepEqual(shapeOf(taken), shapeOf(made))
      assert.equal(taken.prepare('PRAGMA user_version').get()?.user_version, migrations.length)
      for (const db of [taken, made]) db.close()
    })
  }

  it('is refused where its program was newer', () => {
    const path = join(folder, 'newer.db')
    const newer = new DatabaseSync(path)
    newer.exec(`PRAGMA user_version = ${migrations.length + 1}`)
    newer.close()
    assert.throws(() => openDatabase(path), { code: 'CONFIG' })
  })
})
