import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { withMesh } from '../control/mesh.fixture.ts'
import { run } from './program.fixture.ts'

describe('ringfence ca', () => {
  it('shows and changes the authorities, and says what cannot be now, and why', () =>
    withMesh({}, async (mesh) => {
      const ca = (verb: string, ...args: string[]) => run(['ca', verb, '--state-dir', mesh.stateDir, ...args])
      const [shown, nothing, wrong] = await Promise.all([ca('show'), ca('activate', 'root'), ca('prepare', 'leaf')])
      assert.equal(shown.code, 0, shown.err)
      assert.match(shown.out, /^ID +KEY +STATE +SINCE +LEFT +SIGNED BY\n/)
      assert.match(shown.out, /\n[0-9a-f]{12} +root +active .* –\n/)
      assert.match(shown.out, /\n0 of 0 proxies that are connected trust the roots of now\n$/)
      assert.deepEqual([nothing.code, wrong.code], [64, 64])
      assert.match(nothing.err, /no root key is prepared\n {2}hint: ringfence ca prepare root/)
      const prepared = await ca('prepare', 'root')
      assert.match(prepared.out, /^root key [0-9a-f]{12} is prepared\n$/, prepared.err)
      const early = await ca('activate', 'root')
      assert.equal(early.code, 64)
      assert.match(
        early.err,
        /not everybody has been told of the root [0-9a-f]{8}\n {2}hint: at 20.* UTC all have renewed; --force/,
      )
      const forced = await ca('activate', 'root', '--force', '-o', 'json')
      const { authority } = JSON.parse(forced.out) as { authority: { id: string; state: string } }
      assert.equal(authority.state, 'active')
      const { authorities } = await mesh.admin.authorities()
      const { id } = authorities.find(({ kind, state }) => kind === 'root' && state === 'old')!
      const tainted = await ca('taint', id)
      assert.match(tainted.out, /^root key [0-9a-f]{12} is tainted: certificates of it are renewed within a minute\n$/)
      const [tooSoon, active] = await Promise.all([ca('revoke', id), ca('revoke', authority.id)])
      assert.deepEqual([tooSoon.code, active.code], [64, 64])
      assert.match(tooSoon.err, /are renewing and connect anew\n {2}hint: at 20/)
      assert.match(active.err, /is the active root key/)
      const revoked = await ca('revoke', id, '--force', '--reason', 'a test')
      assert.match(revoked.out, /^root key [0-9a-f]{12} is trusted no more \(revocation 1\)\n$/, revoked.err)
      await ca('prepare', 'issuing')
      const next = (await mesh.admin.authorities()).authorities.find(({ state }) => state === 'prepared')!
      assert.match((await ca('revoke', next.id)).out, /^issuing key [0-9a-f]{12} is dropped \(revocation [0-9]+\)\n$/)
    }))

  it('moves the root’s key into a file, by which the next issuing certificate is signed elsewhere', () =>
    withMesh({}, async (mesh) => {
      const folder = mkdtempSync(join(tmpdir(), 'rf-offline-'))
      try {
        const at = (name: string): string => join(folder, name)
        const ca = (verb: string, ...args: string[]) => run(['ca', verb, '--state-dir', mesh.stateDir, ...args])
        const rootFile = join(mesh.stateDir, 'ca', 'root.pem')
        const before = readFileSync(rootFile, 'utf8')
        writeFileSync(at('there'), 'of somebody')
        const taken = await ca('detach', at('there'))
        assert.equal(taken.code, 64)
        assert.equal(readFileSync(at('there'), 'utf8'), 'of somebody')
        assert.equal(readFileSync(rootFile, 'utf8'), before)
        const moved = await ca('detach', at('root.pem'))
        assert.match(moved.out, /^root key [0-9a-f]{12} is in .*root\.pem now, and here no more\n$/, moved.err)
        assert.equal(readFileSync(at('root.pem'), 'utf8'), before)
        assert.equal(statSync(at('root.pem')).mode & 0o777, 0o600)
        assert.doesNotMatch(readFileSync(rootFile, 'utf8'), /PRIVATE KEY/)
        const [again, shown, wrong] = await Promise.all([
          ca('detach', at('twice')),
          ca('show'),
          ca('prepare', 'root', '--offline', at('x')),
        ])
        assert.deepEqual([again.code, wrong.code], [64, 64])
        assert.match(shown.out, /the key of the active root is not on this host\n$/)

        const asked = await ca('prepare', 'issuing', '--offline', at('request.pem'))
        assert.equal(asked.code, 0, asked.err)
        assert.doesNotMatch(readFileSync(at('request.pem'), 'utf8'), /PRIVATE KEY/)
        const signed = await run([
          'ca',
          'sign',
          at('request.pem'),
          '--root',
          at('root.pem'),
          '--out',
          at('issuing.pem'),
        ])
        assert.match(signed.out, /is signed by root [0-9a-f]{12}, good until 20.* UTC\n$/, signed.err)
        const other = await ca('import', at('request.pem'))
        assert.equal(other.code, 64)
        assert.match(other.err, /this is not one certificate in PEM/)
        assert.match((await ca('import', at('issuing.pem'))).out, /^issuing key [0-9a-f]{12} is prepared\n$/)
        assert.match((await ca('activate', 'issuing')).out, /signs from now on/)
        await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/a', ttlMs: 60_000, ipAddresses: [] })
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }))
})
