import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { executeEnvelope } from '../cql/encode.fixture.ts'
import { prepareEnvelope } from '../cql/encode.ts'
import { FirstPrepare } from './first-prepare.ts'
import type { Lane } from './lane.ts'
import type { GatewayLink } from './link.ts'
import { Statement } from './routing/statements.ts'

const link = { placeIndex: 0, serial: 7 } as GatewayLink
const lane = { link } as Lane
const keyed = { keyspace: 'shop', table: 'items', reads: true, key: undefined }

describe('a session that ends while it prepares a statement somewhere', () => {
  it('leaves the statement to others: it may be prepared there again', () => {
    const id = Buffer.alloc(16, 1)
    const statement = new Statement(id, prepareEnvelope(4, 1, 'SELECT * FROM shop.items'), undefined, keyed)
    const waiting = new FirstPrepare(new BytesBudget().open('a', 'b'))
    waiting.begin(lane, executeEnvelope(4, 9, id, undefined, []), [statement])
    assert.equal(statement.mayPrepare(link, '', 0), false)
    waiting.close()
    assert.equal(statement.mayPrepare(link, '', 0), true)
    assert.equal(waiting.size, 0)
  })
})
