import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { ManualClock } from '../../base/clock.fixture.ts'
import { KeyRing } from '../../identity/jwt/keys.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { makeTxnToken, txnTokenLifeMsMax, verifyTxnToken } from '../../identity/txn/token.ts'
import { Observed } from '../../mesh/observable.ts'
import { pushedKinds } from '../../mesh/pushed.ts'
import { createLogger } from '../../telemetry/log.ts'
import { TxnKeys, txnKeyAheadMs, txnKeyLifeMs } from './txn-keys.ts'

const folders: string[] = []
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function made(clock = new ManualClock(1_800_000_000_000), folder = mkdtempSync(join(tmpdir(), 'rf-txn-'))) {
  folders.push(folder)
  const logged: string[] = []
  const published = new Observed(pushedKinds.txnKeys.empty, (value) => pushedKinds.txnKeys.version(value))
  const log = createLogger('txn', { write: (line) => logged.push(line) })
  const keys = new TxnKeys({ published, clock, log, stateDir: folder })
  return { keys, published, clock, folder, logged, path: join(folder, 'txn-keys.json') }
}

describe('keys of transaction tokens', () => {
  it('rotate so that each token is verified by keys that were published before it, until its end', async () => {
    const { keys, published, clock } = made()
    const workload = parseSpiffeId('spiffe://demo.local/svc/web')
    const open: { text: string; expiresAtMs: number }[] = []
    const signers = new Set<string>()
    let before: readonly (typeof published.current)[number][] = published.current
    const stepMs = 60_000
    for (let at = 0; at < 3 * txnKeyLifeMs; at += stepMs) {
      clock.advance(stepMs)
      keys.rotateIfDue()
      const nowMs = clock.now()
      signers.add(keys.signer.kid)
      assert.ok(published.current.length <= 2, 'no key stays for ever')
      // A sidecar that got the last keys a minute ago verifies what is made now.
      const expiresAtMs = nowMs + txnTokenLifeMsMax
      if (at % (20 * stepMs) === 0 || keys.signer.kid !== published.current[0]?.kid) {
        const token = {
          person: 'corp/a',
          groups: [],
          claims: {},
          workload,
          transaction: 't',
          expiresAtMs,
          source: undefined,
        }
        const text = await makeTxnToken(keys.signer, token, {}, nowMs)
        await verifyTxnToken(text, new KeyRing(before), 'demo.local', nowMs)
        open.push({ text, expiresAtMs })
      }
      while (open[0] !== undefined && open[0].expiresAtMs <= nowMs) open.shift()
      for (const { text } of open) await verifyTxnToken(text, new KeyRing(published.current), 'demo.local', nowMs)
      before = published.current
    }
    assert.ok(signers.size >= 3, `${signers.size}`)
  })

  it('stay through a restart, readable by their owner only, and never go out', () => {
    const { keys, published, clock, folder, path } = made()
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const again = made(clock, folder)
    assert.equal(again.keys.signer.kid, keys.signer.kid)
    assert.deepEqual(again.published.current, published.current)
    for (const key of published.current) assert.ok(!('d' in key))
    assert.ok(readFileSync(path, 'utf8').includes('PRIVATE KEY'))
  })

  it('are made anew where the file is damaged, and nothing of it is logged', () => {
    const { keys, clock, folder, path } = made()
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, 150))
    const again = made(clock, folder)
    assert.notEqual(again.keys.signer.kid, keys.signer.kid)
    assert.equal(again.logged.length, 1)
    assert.ok(!again.logged.join().includes('PRIVATE'))
  })

  it('are not kept for a clock that was far ahead', () => {
    const { keys, clock, folder } = made(new ManualClock(1_900_000_000_000))
    void clock
    const now = made(new ManualClock(1_800_000_000_000), folder)
    assert.equal(now.published.current.length, 2)
    assert.equal(now.keys.signer.kid, keys.signer.kid, 'until sidecars have had time to get the new one')
    now.clock.advance(txnKeyAheadMs)
    assert.notEqual(now.keys.signer.kid, keys.signer.kid)
  })
})
