/**
 * On whose behalf a request asks, as its custom payload says: the entry of transaction tokens, or the one that drivers fill where they are told to execute as
 * somebody (`ProxyExecute`, of DataStax Enterprise).
 */

import { limits } from '../../base/limits.ts'
import { envelopeHeaderBytes } from '../../cql/protocol.ts'
import { BodyReader } from '../../cql/reader.ts'
import { looksLikeToken } from '../../identity/jwt/verify.ts'
import { behalfMethods } from '../../identity/proofs/registry.ts'

const tokenKey = Buffer.from(behalfMethods.token)
const nameKey = Buffer.from('ProxyExecute')

const reader = new BodyReader()

export interface Asked {
  /** `none`: nothing of either. `faulty`: `fault` says what is wrong. */
  kind: 'none' | 'token' | 'name' | 'faulty'
  /** Of a name. */
  name: string
  /** Where a token stands. One that is known is found by these bytes, and never becomes a text. */
  tokenAt: number
  tokenEnd: number
  fault: string
}

/** What stands there; borrowed until the next is looked for. */
const asked: Asked = { kind: 'none', name: '', tokenAt: 0, tokenEnd: 0, fault: '' }

/**
 * Fills `asked` from a request whose header has the flag of a custom payload.
 * @throws RingfenceError PROTOCOL, TOO_LARGE as the reading of the whole envelope does
 */
export function findAsked(bytes: Buffer, start: number, end: number): Asked {
  asked.kind = 'none'
  let found = false
  reader.reset(bytes, start + envelopeHeaderBytes, end)
  const count = reader.entries(limits.mapEntriesMax)
  for (let entry = 0; entry < count; entry++) {
    const keyBytes = reader.short()
    const keyAt = reader.skip(keyBytes)
    const valueBytes = reader.skipBytes()
    const isToken = readsAs(tokenKey, bytes, keyAt, keyBytes)
    if (!isToken && !readsAs(nameKey, bytes, keyAt, keyBytes)) continue
    const key = isToken ? tokenKey : nameKey
    // Whoever wrote it meant somebody: it is not served as if nobody were named.
    if (key.compare(bytes, keyAt, keyAt + keyBytes) !== 0)
      return faulty(`the custom payload says on whose behalf this is, but not by the name ${key.toString()}`)
    if (found) return faulty('the custom payload says more than once on whose behalf this is')
    found = true
    const fault = take(bytes, reader.at, valueBytes, isToken)
    if (fault !== undefined) return faulty(fault)
  }
  return asked
}

/** The same to somebody who looks at neither case nor the kind of dash: HTTP calls it `Txn-Token`. */
function readsAs(key: Buffer, bytes: Buffer, at: number, length: number): boolean {
  if (length !== key.length) return false
  for (let i = 0; i < length; i++) if (folded(key[i]!) !== folded(bytes[at + i]!)) return false
  return true
}

function folded(byte: number): number {
  if (byte === 0x5f) return 0x2d
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
}

/** What is wrong with it; undefined where nothing is. */
function take(bytes: Buffer, endAt: number, length: number, mustBeToken: boolean): string | undefined {
  if (length <= 0) return 'the custom payload says that this is on behalf of somebody, and not of whom'
  if (length > limits.txnTokenBytesMax) return `a transaction token has at most ${limits.txnTokenBytesMax} bytes`
  asked.tokenAt = endAt - length
  asked.tokenEnd = endAt
  asked.kind = 'token'
  if (mustBeToken) return undefined
  asked.name = bytes.toString('utf8', asked.tokenAt, endAt)
  if (!looksLikeToken(asked.name)) asked.kind = 'name'
  return undefined
}

function faulty(fault: string): Asked {
  asked.kind = 'faulty'
  asked.fault = fault
  return asked
}
