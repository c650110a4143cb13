import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { queryEnvelope } from '../cql/encode.ts'
import type { Client } from '../session/backend.ts'
import { LoopShares } from '../session/loop-share.ts'
import { type Request, type RequestOwner, takeRequest } from './request.ts'
import { Waiting } from './waiting.ts'

const owner = {} as RequestOwner

function requestOf(text: string): Request {
  const envelope = queryEnvelope(4, 1, text)
  return takeRequest().arrive({} as never, owner, envelope, 0, envelope.length)
}

/** How a wait begins: reading stands, or goes on. */
type Kind = 'halting' | 'reading'

/** What is read of the client after each step: a first wait, its end in which the request waits again, and the end of that. */
function reads(kinds: readonly Kind[], end: 'letGo' | 'failFirst'): boolean[] {
  let reading = true
  const account = new BytesBudget().open('a', '1')
  const client: Pick<Client, 'account' | 'halt' | 'pause'> = {
    account,
    halt: (halted) => {
      reading = !halted
    },
    pause: () => assert.fail('there is room'),
  }
  const left = [...kinds]
  const begin = (request: Request): void => {
    const kind = left.shift()
    if (kind === 'halting') waiting.beginHalted(request)
    else if (kind === 'reading') waiting.begin(request)
  }
  const host = {
    serve: (request: Request) => (waiting.active ? waiting.add(request) : begin(request)),
    refuse: () => {},
  }
  const waiting: Waiting = new Waiting(client as Client, host, new LoopShares().share())
  begin(requestOf('USE a'))
  waiting.add(requestOf('SELECT * FROM t'))
  const seen = [reading]
  while (waiting.active) {
    if (end === 'letGo') waiting.letGo()
    else waiting.failFirst(new Error('no room'))
    seen.push(reading)
  }
  return seen
}

describe('reading of a client whose requests wait', () => {
  for (const end of ['letGo', 'failFirst'] as const) {
    it(`stands in a wait that halts it, and in no other that comes after: ${end}`, () => {
      assert.deepEqual(reads(['halting'], end), [false, true])
      assert.deepEqual(reads(['reading'], end), [true, true])
      // A USE that was put off, and waits for the node then.
      assert.deepEqual(reads(['halting', 'reading'], end), [false, true, true])
      assert.deepEqual(reads(['reading', 'halting'], end), [true, false, true])
      assert.deepEqual(reads(['halting', 'halting'], end), [false, false, true])
    })
  }
})
