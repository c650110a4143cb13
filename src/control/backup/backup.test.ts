/** A backup as a file: every byte of it counts, and what was restored gives nothing out twice. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { CertificateAuthority } from '../ca.ts'
import { migrations } from '../sqlite-schema.ts'
import { SqliteStore } from '../sqlite-store.ts'
import { backUp } from './backup.ts'
import { contentOf, filesOf, snapshotOf } from './content.ts'
import { restore } from './restore.ts'
import { type BackupSecret, openBackup, sealBackup } from './sealed.ts'
import { refuseUnfinished, unfinishedName } from './unfinished.ts'

const nowMs = Date.UTC(2026, 10, 30)
const key: BackupSecret = { kind: 'key', bytes: Buffer.alloc(32, 7) }
const passphrase: BackupSecret = { kind: 'passphrase', text: 'correct horse battery' }
const about = { madeMs: nowMs, version: '1', schema: 1, epoch: 0, revision: 3 }
const noNames = { ipAddresses: [], dnsNames: [], listenerIdentities: [] }

let base: string
before(() => {
  base = mkdtempSync(join(tmpdir(), 'rf-backup-'))
})
after(() => rmSync(base, { recursive: true, force: true }))
const newFolder = (): string => mkdtempSync(join(base, 'd-'))

describe('a sealed backup', () => {
  const content = Buffer.from('keys and a store')

  for (const secret of [key, passphrase]) {
    it(`opens with its ${secret.kind}, and with no other`, async () => {
      const file = await sealBackup(content, about, secret)
      assert.ok(!file.includes(content))
      assert.deepEqual(await openBackup(file, secret), { content, about })
      const others: BackupSecret[] = [
        { kind: 'key', bytes: Buffer.alloc(32, 8) },
        { kind: 'passphrase', text: 'correct horse batterz' },
      ]
      for (const other of others) await assert.rejects(openBackup(file, other), { code: 'CONFIG' })
    })
  }

  it('is another file each time, of the same content', async () => {
    const [one, two] = [await sealBackup(content, about, key), await sealBackup(content, about, key)]
    assert.notDeepEqual(one.subarray(-40), two.subarray(-40))
  })

  it('is refused with any byte changed, any end cut off and anything behind it', async () => {
    const file = await sealBackup(content, about, key)
    for (let at = 0; at < file.length; at++) {
      const damaged = Buffer.from(file)
      damaged[at] = damaged[at]! ^ 0x01
      await assert.rejects(openBackup(damaged, key), { code: 'CONFIG' }, `byte ${at}`)
    }
    for (let length = 0; length < file.length; length++)
      await assert.rejects(openBackup(file.subarray(0, length), key), { code: 'CONFIG' }, `${length} bytes`)
    await assert.rejects(openBackup(Buffer.concat([file, Buffer.from('x')]), key), { code: 'CONFIG' })
  })

  const withHeader = (change: (header: Record<string, unknown>) => void, file: Buffer): Buffer => {
    const at = 'RINGFENCE-BACKUP\n'.length
    const length = file.readUInt32BE(at)
    const header = JSON.parse(file.subarray(at + 4, at + 4 + length).toString()) as Record<string, unknown>
    change(header)
    const text = Buffer.from(JSON.stringify(header))
    const size = Buffer.alloc(4)
    size.writeUInt32BE(text.length)
    return Buffer.concat([file.subarray(0, at), size, text, file.subarray(at + 4 + length)])
  }

  it('of a newer program says so, and one that asks for too much memory or time is not tried', async () => {
    const file = await sealBackup(content, about, passphrase)
    await assert.rejects(
      openBackup(
        withHeader((header) => Object.assign(header, { format: 2 }), file),
        passphrase,
      ),
      {
        message: 'the backup has format 2, this program knows 1',
        hint: 'use the newer program',
      },
    )
    for (const cost of [{ n: 2 ** 20, r: 32 }, { n: 2 ** 30 }, { n: 1000 }, { r: 0 }, { p: 10_000 }, { salt: '!' }]) {
      const asked = withHeader((header) => Object.assign(header.key as object, cost), file)
      const startedMs = performance.now()
      await assert.rejects(openBackup(asked, passphrase), { message: 'the backup is damaged' }, JSON.stringify(cost))
      assert.ok(performance.now() - startedMs < 2_000)
    }
  })
})

const revocation = {
  kind: 'person',
  value: 'corp/alice',
  provider: undefined,
  reason: '',
  by: 'a',
  untilMs: undefined,
} as const

describe('a backup of a control plane', () => {
  async function stateOf(): Promise<{ stateDir: string; store: SqliteStore }> {
    const stateDir = newFolder()
    await CertificateAuthority.open(join(stateDir, 'ca'), 'demo.local', systemClock)
    writeFileSync(join(stateDir, 'txn-keys.json'), '{"keys":[]}')
    const store = new SqliteStore(join(stateDir, 'control.db'))
    store.addPolicy('one', 'p.yaml', nowMs)
    return { stateDir, store }
  }
  const token = (hash: string) =>
    ({ hash, spiffeId: 'spiffe://d/a', role: 'node', expiresAtMs: nowMs * 2, ...noNames }) as const
  const order = (stateDir: string, file: string) => ({ stateDir, file, secret: key, version: '1', nowMs })
  async function restored(
    file: string,
    atMs = nowMs + 1_000,
  ): Promise<{ stateDir: string; epoch: number; tokensVoid: number }> {
    const stateDir = join(newFolder(), 'made', 'new')
    const { epoch, tokensVoid } = await restore({ stateDir, file: readFileSync(file), secret: key, nowMs: atMs })
    return { stateDir, epoch, tokensVoid }
  }

  it('has the store at one moment while it is written, and the files of keys as they are', async () => {
    const { stateDir, store } = await stateOf()
    const file = join(base, 'one.backup')
    const made = await backUp(order(stateDir, file))
    assert.equal(made.revision, 1)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    // What is in the write-ahead log only is in the backup, what comes later is not.
    store.addPolicy('two', 'p.yaml', nowMs)
    const to = (await restored(file)).stateDir
    for (const name of ['ca/root.pem', 'ca/issuing.pem', 'txn-keys.json']) {
      assert.deepEqual(readFileSync(join(to, name)), readFileSync(join(stateDir, name)), name)
      assert.equal(statSync(join(to, name)).mode & 0o777, 0o600, name)
    }
    assert.equal(statSync(to).mode & 0o777, 0o700)
    assert.deepEqual(readdirSync(to).sort(), ['ca', 'control.db', 'txn-keys.json'])
    const again = new SqliteStore(join(to, 'control.db'))
    assert.deepEqual(again.policy(), { revision: 1, source: 'one' })
    again.close()
    store.close()
  })

  it('has keys that are prepared, and what was decided of older ones', async () => {
    const { stateDir, store } = await stateOf()
    const { keys } = await CertificateAuthority.open(join(stateDir, 'ca'), 'demo.local', systemClock)
    const [first] = keys.shown().filter(({ kind }) => kind === 'root')
    const older = await keys.prepare('root')
    await keys.activate('root')
    await keys.taint(first!.id)
    const [root, issuing] = [await keys.prepare('root'), await keys.prepare('issuing')]
    const file = join(base, 'prepared.backup')
    await backUp(order(stateDir, file))
    const to = (await restored(file)).stateDir
    const again = await CertificateAuthority.open(join(to, 'ca'), 'demo.local', systemClock)
    assert.deepEqual(again.keys.shown(), keys.shown())
    assert.equal(again.bundlePem, keys.bundlePem)
    assert.deepEqual(
      [root, issuing, older, first!].map(({ id }) => again.keys.find(id).state),
      ['prepared', 'prepared', 'active', 'tainted'],
    )
    assert.equal((await again.keys.activate('issuing')).id, issuing.id)
    assert.equal((await again.keys.activate('root')).id, root.id)
    store.close()
  })

  it('takes the place of an older backup, and of nothing else', async () => {
    const { stateDir, store } = await stateOf()
    const file = join(base, 'two.backup')
    await backUp(order(stateDir, file))
    await backUp(order(stateDir, file))
    for (const name of ['control.db', 'ca/root.pem']) {
      const path = join(stateDir, name)
      const before = readFileSync(path)
      await assert.rejects(backUp(order(stateDir, path)), /is there and is no backup, so it is not replaced/)
      assert.deepEqual(readFileSync(path), before)
    }
    await assert.rejects(backUp(order(newFolder(), join(base, 'x'))), /is not the folder of a control plane/)
    store.close()
  })

  it('restored, gives no token, no revision, no key id and no epoch a second time, however often it is', async () => {
    const { stateDir, store } = await stateOf()
    store.addToken(token('unused'), nowMs)
    store.addToken(token('used'), nowMs)
    store.spendToken('used', nowMs)
    const meshKey = { key: Buffer.alloc(32), use: 'pages', createdAtMs: nowMs, fromMs: 0 } as const
    store.addMeshKey(meshKey, 3)
    const file = join(base, 'three.backup')
    await backUp(order(stateDir, file))
    // After the backup: all this is forgotten by what is restored.
    const given = new Set(
      [store.addPolicy('lost', 'p.yaml', nowMs)].map(({ revision, epoch = 0 }) => `${epoch} ${revision}`),
    )
    store.spendToken('unused', nowMs)
    store.addMeshKey(meshKey, 3)
    const ids = new Set(store.meshKeys().map(({ id }) => id))
    const revocations = new Set([store.addRevocation({ ...revocation, createdAtMs: nowMs }).id])
    store.close()
    for (const atMs of [nowMs + 1_000, nowMs + 60_000]) {
      const one = await restored(file, atMs)
      assert.equal(one.tokensVoid, 1)
      const again = new SqliteStore(join(one.stateDir, 'control.db'))
      assert.equal(again.epoch(), one.epoch)
      for (const hash of ['unused', 'used']) assert.equal(again.spendToken(hash, atMs), false, hash)
      // New ones are as ever.
      again.addToken(token('new'), atMs)
      assert.deepEqual([again.spendToken('new', atMs), again.spendToken('new', atMs)], [true, false])
      const { revision, epoch = 0 } = again.addPolicy('another', 'p.yaml', atMs)
      assert.ok(!given.has(`${epoch} ${revision}`))
      given.add(`${epoch} ${revision}`)
      again.addMeshKey(meshKey, 3)
      const id = again.meshKeys()[0]!.id
      assert.ok(!ids.has(id), `key ${id}`)
      ids.add(id)
      const revoked = again.addRevocation({ ...revocation, createdAtMs: atMs }).id
      assert.ok(!revocations.has(revoked), `revocation ${revoked}`)
      revocations.add(revoked)
      // What counts once and was made before the restore may have been shown.
      const bounds = { entriesMax: 10, entriesPerOwnerMax: 10 }
      const minute = 60_000
      const spend = (endMs: number) => again.spendOnce({ key: `k${endMs}`, owner: 'o', endMs }, bounds, atMs)
      assert.equal(spend(atMs + 14 * minute), 'spent')
      assert.equal(spend(atMs + 16 * minute), 'noted')
      again.close()
    }
  })

  it('goes into an empty folder only, and one that was not finished is begun anew and not started from', async () => {
    const { stateDir, store } = await stateOf()
    store.close()
    const file = join(base, 'four.backup')
    await backUp(order(stateDir, file))
    const before = readFileSync(join(stateDir, 'control.db'))
    const into = (to: string) => restore({ stateDir: to, file: readFileSync(file), secret: key, nowMs })
    await assert.rejects(into(stateDir), /is not empty, and a restore replaces nothing/)
    assert.deepEqual(readFileSync(join(stateDir, 'control.db')), before)
    const to = newFolder()
    writeFileSync(join(to, unfinishedName), '')
    mkdirSync(join(to, 'ca'))
    writeFileSync(join(to, 'control.db'), 'half')
    assert.throws(() => refuseUnfinished(to), { code: 'CONFIG', hint: /run ringfence control restore again/ })
    await into(to)
    refuseUnfinished(to)
    assert.deepEqual(readdirSync(to).sort(), ['ca', 'control.db', 'txn-keys.json'])
  })

  it('of an older store becomes one of this, and of a newer one or another content is refused', async () => {
    const { stateDir, store } = await stateOf()
    store.close()
    const snapshot = snapshotOf(stateDir)
    const withStore = async (change: (path: string) => void): Promise<string> => {
      const path = join(newFolder(), 'store.db')
      change(path)
      const files = snapshot.files.map((one) =>
        one.name === 'control.db' ? { ...one, bytes: readFileSync(path) } : one,
      )
      const file = join(newFolder(), 'made.backup')
      writeFileSync(file, await sealBackup(contentOf({ ...snapshot, files }), about, key))
      return file
    }
    for (let version = 1; version < migrations.length; version++) {
      const older = await withStore((path) => {
        const db = new DatabaseSync(path)
        db.exec(`${migrations.slice(0, version).join(';')}; PRAGMA user_version = ${version}`)
        db.close()
      })
      const again = new SqliteStore(join((await restored(older)).stateDir, 'control.db'))
      assert.ok(again.epoch() > 0)
      again.close()
    }
    const newer = await withStore((path) => {
      const db = new DatabaseSync(path)
      db.exec(`PRAGMA user_version = ${migrations.length + 1}`)
      db.close()
    })
    await assert.rejects(restored(newer), { code: 'CONFIG', hint: 'use the newer program' })
    const torn = await withStore((path) =>
      writeFileSync(path, 'no database at all, and longer than a header of SQLite'.repeat(100)),
    )
    await assert.rejects(restored(torn), { code: 'CONFIG' })
    for (const text of ['{}', '{"files":[]}', '{"files":[{"name":"../../etc/passwd","base64":""}]}'])
      assert.throws(() => filesOf(Buffer.from(text)), { code: 'CONFIG' })
    assert.ok(existsSync(stateDir))
  })
})
