import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pino } from 'pino'
import { sha256Hex } from '../base/digest.ts'
import { limits } from '../base/limits.ts'
import { allPushedKinds, pushedKinds } from '../mesh/pushed.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { KeptValues } from './kept-values.ts'

const key = { id: 2, key: Buffer.alloc(32, 9), use: 'pages' as const }
const sidecar = { name: 'n', spiffeId: 'spiffe://d/ringfence/sidecar/n', address: '127.0.0.1', port: 9142 }
const policy = { revision: 7, source: 'kind: x\n' }
/** What a program of before the list of pushed kinds wrote. */
const content = `{"revision":7,"source":"kind: x\\n","sidecars":[${JSON.stringify(sidecar)}],"gateways":[]}`
const cacheText = JSON.stringify({ sha256: sha256Hex(content), content })
/** The same with the kinds that there were not, which that program passes over. */
const contentNow = `{"keySets":[],"txnKeys":[],${content.slice(1)}`
const cacheTextNow = JSON.stringify({ sha256: sha256Hex(contentNow), content: contentNow })
const keysText = `{"keys":[{"id":2,"key":"${key.key.toString('base64')}","use":"pages"}]}`

describe('values kept on disk', () => {
  let folder: string
  let cache: string
  let keys: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-kept-'))
    cache = join(folder, 'policy-cache.json')
    keys = join(folder, 'mesh-keys.json')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function read(role: AgentRole): { values: PushedValues; kept: KeptValues; errors: string[] } {
    const errors: string[] = []
    const log = pino({ level: 'error' }, { write: (line: string) => void errors.push(line) })
    const values = new PushedValues(allPushedKinds)
    const kept = new KeptValues(folder, values, role, log)
    kept.read()
    return { values, kept, errors }
  }

  it('are those of a program of before, which can read them again', async () => {
    writeFileSync(cache, cacheText)
    writeFileSync(keys, keysText)
    const { values, kept, errors } = read('sidecar')
    assert.deepEqual(values.value(pushedKinds.policy).current, policy)
    assert.deepEqual(values.value(pushedKinds.sidecars).current, [sidecar])
    assert.deepEqual(values.value(pushedKinds.keys).current, [key])
    assert.deepEqual(errors, [])
    await Promise.all(allPushedKinds.map((kind) => kept.write(kind)))
    assert.deepEqual([readFileSync(cache, 'utf8'), readFileSync(keys, 'utf8')], [cacheTextNow, keysText])
    for (const path of [cache, keys]) assert.equal(statSync(path).mode & 0o777, 0o600, path)
  })

  it('may lack a kind that the program did not know', () => {
    const older = '{"revision":7,"source":"kind: x\\n","sidecars":[]}'
    writeFileSync(cache, JSON.stringify({ sha256: sha256Hex(older), content: older }))
    const { values, errors } = read('sidecar')
    assert.deepEqual(values.value(pushedKinds.policy).current, policy)
    assert.deepEqual(values.value(pushedKinds.gateways).current, [])
    assert.deepEqual(errors, [])
  })

  it('are not used where a byte of them is another, and that is said; the other file is', () => {
    writeFileSync(keys, keysText)
    const bytes = Buffer.from(cacheText)
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] ?? 0) ^ 1
      writeFileSync(cache, damaged)
      const { values, errors } = read('sidecar')
      const { revision } = values.value(pushedKinds.policy).current
      assert.equal(revision, 0, `byte ${at}`)
      assert.ok(errors.length > 0, `byte ${at}`)
      assert.equal(values.value(pushedKinds.keys).current.length, 1)
    }
    writeFileSync(cache, cacheText)
    for (const text of ['', '{', '[]', 'null', '{"keys":1}', '{"keys":[{"id":1,"key":"x"}]}']) {
      writeFileSync(keys, text)
      const { values, errors } = read('sidecar')
      assert.deepEqual(values.value(pushedKinds.keys).current, [], text)
      assert.ok(errors.length > 0 || text === '[]', text)
      assert.deepEqual(values.value(pushedKinds.policy).current, policy)
    }
  })

  it('are no secrets where the role has none: such a file is removed, and none is written', async () => {
    writeFileSync(keys, keysText)
    const { values, kept } = read('gateway')
    assert.ok(!existsSync(keys))
    assert.deepEqual(values.value(pushedKinds.keys).current, [])
    values.value(pushedKinds.policy).set({ ...policy, revision: 8 })
    await kept.write(pushedKinds.policy)
    assert.equal(read('gateway').values.value(pushedKinds.policy).current.revision, 8)
    assert.ok(!existsSync(keys))
  })

  it('are written one after the other, the last as it is then, and beside the event loop', async () => {
    const { values, kept } = read('sidecar')
    const writes: Promise<void>[] = []
    for (let revision = 20; revision < 40; revision++) {
      values.value(pushedKinds.policy).set({ ...policy, revision })
      writes.push(kept.write(pushedKinds.policy))
      if (revision % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
      // Whoever reads meanwhile finds one of them whole.
      assert.equal(read('sidecar').errors.length, 0)
    }
    await kept.written()
    await Promise.all(writes)
    assert.equal(read('sidecar').values.value(pushedKinds.policy).current.revision, 39)
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.new')),
      [],
    )
  })

  it('are written in short pieces, however large the policy is and whatever stands in it', async () => {
    const source = 'kind: "x"\n'.repeat(limits.policyBytesMax / 10)
    let longestMs = Infinity
    // What else the machine does makes it longer and never shorter.
    for (let revision = 50; revision < 56; revision++) {
      const { values, kept } = read('sidecar')
      values.value(pushedKinds.policy).set({ revision, source })
      let longestOfWriteMs = 0
      let written = false
      let before = process.threadCpuUsage()
      const turn = (): void => {
        const { user, system } = process.threadCpuUsage(before)
        before = process.threadCpuUsage()
        longestOfWriteMs = Math.max(longestOfWriteMs, (user + system) / 1000)
        if (!written) setImmediate(turn)
      }
      setImmediate(turn)
      await kept.write(pushedKinds.policy)
      written = true
      assert.equal(read('sidecar').values.value(pushedKinds.policy).current.source, source)
      longestMs = Math.min(longestMs, longestOfWriteMs)
    }
    assert.ok(longestMs < 12, `${longestMs} ms in one turn`)
    const { values, kept } = read('sidecar')
    values.value(pushedKinds.policy).set({ ...policy, revision: 60 })
    await kept.write(pushedKinds.policy)
  })

  it('are not kept where the disk says no, which is said; the next ones are', async () => {
    const { kept, errors } = read('sidecar')
    rmSync(cache, { force: true })
    mkdirSync(join(cache, 'in-the-way'), { recursive: true })
    await kept.write(pushedKinds.policy)
    assert.match(errors.join(''), /could not be kept on disk/)
    rmSync(cache, { recursive: true })
    await kept.write(pushedKinds.policy)
    assert.ok(existsSync(cache))
  })
})
