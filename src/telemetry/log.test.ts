import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'
import { createLogger } from './log.ts'

function logged(write: (log: ReturnType<typeof createLogger>) => void): {
  text: string
  line: Record<string, unknown>
} {
  let text = ''
  write(
    createLogger('test', {
      write: (line) => {
        text += line
      },
    }),
  )
  return { text, line: JSON.parse(text) as Record<string, unknown> }
}

describe('a line of the log', () => {
  it('is one line that does nothing to a terminal, and reads back as it was', () => {
    const name = 'x\u001b[2J\n\u202e\u3164\u2800\u0085\u2028\ud800'
    const { text, line } = logged((log) => log.warn({ reason: name, nested: { [name]: name } }, `about ${name}`))
    assert.equal(text, `${printable(text.slice(0, -1))}\n`)
    assert.equal(line.msg, `about ${name}`)
    assert.equal(line.reason, name)
  })

  it('has the words of a system error, which quotes no input', () => {
    const err = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9042'), {
      code: 'ECONNREFUSED',
      syscall: 'connect',
    })
    const { line } = logged((log) => log.info({ err }, 'the node is not reachable'))
    const { message, code } = line.err as { message: string; code: string }
    assert.deepEqual([message, code], ['connect ECONNREFUSED 127.0.0.1:9042', 'ECONNREFUSED'])
  })

  it('has the words of our own errors, and of others only what cannot quote their input', () => {
    const secret = 'hunter2'
    const parse = (): unknown => JSON.parse(secret)
    let foreign: unknown
    try {
      parse()
    } catch (reason) {
      foreign = reason
    }
    const carrying = Object.assign(new RingfenceError('LINK', 'a control message is not JSON', { cause: foreign }), {
      envelope: Buffer.from(secret),
      row: secret,
    })
    for (const err of [foreign, carrying, secret, { secret }]) {
      const { text } = logged((log) => log.error({ err }, 'broken'))
      assert.ok(!text.includes(secret) && !text.includes(JSON.stringify([...Buffer.from(secret)]).slice(1, -1)), text)
    }
    const { line } = logged((log) => log.error({ err: carrying }, 'broken'))
    const err = line.err as { message: string; code: string; stack: string; cause: { type: string } }
    assert.equal(err.message, 'a control message is not JSON')
    assert.equal(err.code, 'LINK')
    assert.match(err.stack, /^at .*log\.test\.ts/)
    assert.equal(err.cause.type, 'SyntaxError')
  })
})
