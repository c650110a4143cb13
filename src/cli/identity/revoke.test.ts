import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { withMesh } from '../../control/mesh.fixture.ts'
import { passwordOf, urlWith } from '../../identity/aws/presigned.fixture.ts'
import { makeKey, signed } from '../../identity/jwt/tokens.fixture.ts'
import { run } from '../program.fixture.ts'

describe('ringfence identity revoke, restore and revocations', () => {
  it('say whom they mean, by whom and why, and end with what it came to', () =>
    withMesh({}, async (mesh) => {
      const orders = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/orders' })
      const file = join(mesh.stateDir, 'orders.pem')
      writeFileSync(file, orders.certificatePem)
      const identity = (verb: string, ...args: string[]) =>
        run(['identity', verb, '--state-dir', mesh.stateDir, ...args])
      const why = ['--reason', 'a lost laptop', '--by', 'carol']
      const [id, typo, both, nobody, noReason, dry] = await Promise.all([
        identity('revoke', 'spiffe://demo.local/svc/orders', ...why, '--until', '2h'),
        identity('revoke', 'spiffe://demo.local/svc/order', ...why, '--dry-run'),
        identity('revoke', 'corp/alice', '--token', 'j', ...why),
        identity('revoke', 'alice', ...why),
        identity('revoke', 'corp/alice'),
        identity('revoke', '--proxy', 'n1', ...why),
      ])
      assert.equal(id.code, 0, id.err)
      assert.match(id.out, /^revocation 1: spiffe:\/\/demo\.local\/svc\/orders\nmeant of those that are known: spiffe:/)
      assert.match(id.out, /in force at 0 of 0 proxies after \d+\.\d\d s\n$/)
      assert.match(
        typo.out,
        /nobody of that name is known here; the nearest name is spiffe:\/\/demo\.local\/svc\/orders/,
      )
      for (const wrong of [both, nobody, noReason, dry]) assert.equal(wrong.code, 64, wrong.err)
      assert.match(nobody.err, /neither a SPIFFE id nor a person\n {2}hint: a person is written corp\/alice/)
      assert.match(dry.err, /no gateway or sidecar is called n1/)
      const certificate = await identity('revoke', '--certificate', file, ...why, '-o', 'json')
      const { revocation } = JSON.parse(certificate.out) as { revocation: { id: number; kind: string; value: string } }
      const { serialNumber } = new X509Certificate(orders.certificatePem)
      assert.deepEqual(revocation, { ...revocation, id: 2, kind: 'one-certificate', value: serialNumber })
      const listed = await identity('revocations')
      assert.match(listed.out, /^ *NUMBER +REVOKED +AGO +BY +UNTIL +REASON\n +2 +certificate [0-9A-F]{16,} .*carol/)
      assert.match(listed.out, /\n +1 +spiffe:\/\/demo\.local\/svc\/orders .* carol +in (2h|1h59m)\S* +a lost laptop/)
      const [restored, again] = [
        await identity('restore', '1', '--reason', 'found'),
        await identity('restore', 'spiffe://demo.local/svc/orders'),
      ]
      assert.equal(restored.code, 0, restored.err)
      assert.match(restored.out, /^revocation 1 is over: spiffe:\/\/demo\.local\/svc\/orders may come in again/)
      assert.equal(again.code, 64)
      assert.match(again.err, /is not revoked\n/)
    }))

  it('make of a whole token what it is known by, and send the token nowhere', () =>
    withMesh({}, async (mesh) => {
      const identity = (verb: string, ...args: string[]) =>
        run(['identity', verb, '--state-dir', mesh.stateDir, ...args])
      const key = makeKey('k')
      const claims = { iss: 'https://id.example', sub: 'alice', txn: 'other' }
      const hash = (text: string) => createHash('sha256').update(text).digest('hex')
      const [withId, without, txn, encrypted] = [
        signed(key, { ...claims, jti: 'j-1' }),
        signed(key, claims),
        signed(key, { ...claims, txn: 't-1' }, { typ: 'txntoken+jwt' }),
        `${signed(key, claims)}.x.y`,
      ]
      const presigned = passwordOf(urlWith())
      const why = ['--reason', 'shown on a screen', '-o', 'json']
      const revoked = await Promise.all(
        [withId, ` Bearer ${without}\n`, txn, 'j-2', presigned].map((token) =>
          identity('revoke', '--token', token, ...why),
        ),
      )
      for (const { code, err } of revoked) assert.equal(code, 0, err)
      const values = revoked.map(({ out }) => (JSON.parse(out) as { revocation: { value: string } }).revocation.value)
      assert.deepEqual(values, ['j-1', hash(without), 't-1', 'j-2', hash('0f'.repeat(32))])
      const refused = await Promise.all([
        identity('revoke', '--token', encrypted, ...why),
        identity('revoke', '--token', passwordOf('https://sts.amazonaws.com/?X-Amz-Signature=00ff'), ...why),
        identity('revoke', presigned, ...why),
        identity('revoke', withId, ...why),
        identity('revoke', `corp/${withId}`, ...why),
        identity('revoke', '--certificate', withId, ...why),
        identity('revoke', '--issuer-key', `corp/${withId}`, ...why),
      ])
      for (const { code, err } of refused) {
        assert.equal(code, 64, err)
        assert.match(err, /a token itself.*\n {2}hint: give its "jti"/)
      }
      const restored = await identity('restore', '--token', withId)
      assert.equal(restored.code, 0, restored.err)
      assert.equal((await mesh.admin.revocations(true, 10)).revocations.length, 5)
      const said = [...revoked, ...refused, restored].map(({ out, err }) => out + err).join('')
      for (const token of [withId, without, txn, presigned]) assert.ok(!said.includes(token.split('.')[1]!))
    }))
})
