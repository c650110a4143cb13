/** Transaction tokens in a test's hand, and requests that have one in their custom payload. */

import { Flag } from '../../src/cql/protocol.ts'
import { makeKey, signed, type TestKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import type { RunningSidecar } from './world.ts'

export const txnKey = makeKey('t1')
let serial = 0
/** All that were made here: none may be written anywhere. */
export const tokensMade: string[] = []

export function useTxnKeys({ feed }: Pick<RunningSidecar, 'feed'>, keys: readonly TestKey[] = [txnKey]): void {
  feed.value(pushedKinds.txnKeys).set(keys.map(({ jwk }) => jwk))
}

/** For the workload `svc/web`, two minutes long; `claims` and `header` take the place of what a good one has. */
export function txnToken(
  person: string,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  key: TestKey = txnKey,
): string {
  const iat = Math.floor(Date.now() / 1000)
  const usual = {
    iss: 'spiffe://demo.local',
    aud: 'demo.local',
    iat,
    exp: iat + 120,
    txn: `txn-${++serial}`,
    sub: person,
    req_wl: 'spiffe://demo.local/svc/web',
    scope: 'cql',
    rctx: { groups: [], claims: {} },
  }
  const token = signed(key, { ...usual, ...claims }, { typ: 'txntoken+jwt', ...header })
  tokensMade.push(token)
  return token
}

/** The request with these entries, which may be one key twice, in its custom payload; null is a [bytes] of length −1. */
export function withPayload(envelope: Buffer, entries: readonly (readonly [string, string | Buffer | null])[]): Buffer {
  const parts = entries.flatMap(([key, value]) => {
    const bytes = value === null ? Buffer.alloc(0) : Buffer.from(value as string)
    const lengths = [Buffer.alloc(2), Buffer.alloc(4)] as const
    lengths[0].writeUInt16BE(Buffer.byteLength(key))
    lengths[1].writeInt32BE(value === null ? -1 : bytes.length)
    return [lengths[0], Buffer.from(key), lengths[1], bytes]
  })
  const count = Buffer.alloc(2)
  count.writeUInt16BE(entries.length)
  const payload = Buffer.concat([count, ...parts])
  const whole = Buffer.concat([envelope.subarray(0, 9), payload, envelope.subarray(9)])
  whole[1]! |= Flag.CUSTOM_PAYLOAD
  whole.writeInt32BE(whole.length - 9, 5)
  return whole
}
