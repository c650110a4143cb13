import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { Flag } from '../../cql/protocol.ts'
import { QueryView, readQuery } from '../../cql/requests.ts'
import { findAsked } from './payload.ts'

const plain = queryEnvelope(4, 1, 'SELECT * FROM shop.items')
const token = 'eyJ.eyJ.sig'

function withEntries(...entries: [string, Buffer | string][]): Buffer {
  const parts = entries.map(([key, value]) => {
    const head = Buffer.alloc(2 + key.length + 4)
    head.writeUInt16BE(key.length)
    head.write(key, 2, 'latin1')
    head.writeInt32BE(Buffer.byteLength(value), 2 + key.length)
    return Buffer.concat([head, Buffer.from(value as string)])
  })
  const count = Buffer.alloc(2)
  count.writeUInt16BE(entries.length)
  const whole = Buffer.concat([plain.subarray(0, 9), count, ...parts, plain.subarray(9)])
  whole[1]! |= Flag.CUSTOM_PAYLOAD
  whole.writeInt32BE(whole.length - 9, 5)
  return whole
}

const found = (...entries: [string, Buffer | string][]): string => {
  const envelope = withEntries(...entries)
  const { kind, name, tokenAt, tokenEnd, fault } = findAsked(envelope, 0, envelope.length)
  const text = kind === 'name' ? name : envelope.toString('utf8', tokenAt, tokenEnd)
  return kind === 'faulty' ? fault : kind === 'none' ? kind : `${kind} ${text}`
}

describe('on whose behalf a request asks', () => {
  it('is a token or a name, under either key; other entries say nothing', () => {
    assert.equal(found(), 'none')
    assert.equal(found(['x', 'y']), 'none')
    for (const key of [
      'txn-toke',
      'txn-tokenx',
      'txn token',
      'txnxtoken',
      'ProxyExecut',
      'ProxyExecute\0',
      'Proxy-Execut',
      '',
    ])
      assert.equal(found([key, token]), 'none', key)
    assert.equal(found(['txn-token', token]), `token ${token}`)
    assert.equal(found(['ProxyExecute', token]), `token ${token}`)
    assert.equal(found(['ProxyExecute', 'corp/alice']), 'name corp/alice')
    assert.equal(found(['txn-token', 'corp/alice']), 'token corp/alice')
    assert.equal(found(['a', 'b'], ['ProxyExecute', 'corp/alice'], ['c', '']), 'name corp/alice')
    // What is left of the one before counts for nothing.
    assert.equal(found(['x', 'y']), 'none')
  })

  it('is faulty under a name that only reads like one, as HTTP writes it: it is not served as nobody’s', () => {
    for (const key of ['Txn-Token', 'TXN-TOKEN', 'txn_token', 'Txn_Token', 'txn-tokeN'])
      for (const value of [token, 'corp/alice', ''])
        assert.match(found([key, value]), /not by the name txn-token$/, key)
    for (const key of ['proxyexecute', 'PROXYEXECUTE', 'ProxyExecutE', 'proxyExecute'])
      assert.match(found(['x', 'y'], [key, 'corp/alice']), /not by the name ProxyExecute$/, key)
    assert.match(found(['Txn-Token', token], ['txn-token', token]), /not by the name/)
  })

  it('is faulty where two say it, where it is empty or too long', () => {
    assert.match(found(['txn-token', token], ['txn-token', token]), /more than once/)
    assert.match(found(['ProxyExecute', 'corp/alice'], ['x', 'y'], ['txn-token', token]), /more than once/)
    assert.match(found(['txn-token', '']), /not of whom/)
    assert.match(found(['ProxyExecute', '']), /not of whom/)
    assert.match(found(['txn-token', 'x'.repeat(limits.txnTokenBytesMax + 1)]), /at most/)
    assert.equal(found(['txn-token', 'x'.repeat(limits.txnTokenBytesMax)]).length, 6 + limits.txnTokenBytesMax)
  })

  it('is read as the whole envelope is: of bytes that are no payload both say so', () => {
    const good = withEntries(['a', 'b'], ['txn-token', token], ['c', randomBytes(40)])
    const view = new QueryView()
    let both = 0
    for (let round = 0; round < 5000; round++) {
      const bytes = Buffer.from(good)
      for (let change = randomInt(1, 4); change > 0; change--) bytes[randomInt(9, 90)] = randomInt(256)
      const outcome = (read: () => void): boolean => {
        try {
          read()
          return true
        } catch (reason) {
          assert.ok(reason instanceof RingfenceError, String(reason))
          return false
        }
      }
      const isFound = outcome(() => findAsked(bytes, 0, bytes.length))
      const isRead = outcome(() => readQuery(view, wholeEnvelope(bytes), 4))
      // Behind the payload there may be more that is wrong.
      if (isRead) assert.ok(isFound || /more than once/.test(findAskedFault(bytes)))
      if (isRead && isFound) both++
    }
    assert.ok(both > 100)
  })
})

function findAskedFault(bytes: Buffer): string {
  try {
    return findAsked(bytes, 0, bytes.length).fault
  } catch (reason) {
    return String(reason)
  }
}
