import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { logServerErrors } from './server-errors.ts'

const root = join(import.meta.dirname, '..')

describe('a server that cannot take a connection', () => {
  it('says so once for many, and goes on', () => {
    const server = createServer()
    const lines: object[] = []
    logServerErrors(server, { warn: (fields: object) => void lines.push(fields) } as never)
    for (let i = 0; i < 3; i++) server.emit('error', new Error('accept EMFILE'))
    server.emit('error', new Error('accept ENFILE'))
    assert.deepEqual(lines, [
      { reason: 'accept EMFILE', repeated: 0 },
      { reason: 'accept ENFILE', repeated: 0 },
    ])
  })

  it('is heard wherever a proxy or the control plane listens', () => {
    const listening = globSync('{control,gateway,sidecar,session,agent}/**/*.ts', { cwd: root }).filter((file) => {
      // `free-ports.ts` listens for a moment, to see whether it could.
      if (/\.(test|fixture|fuzz)\.ts$/.test(file) || file === 'session/free-ports.ts') return false
      return /\.listen\(/.test(readFileSync(join(root, file), 'utf8'))
    })
    assert.ok(listening.length >= 4)
    for (const file of listening) assert.match(readFileSync(join(root, file), 'utf8'), /logServerErrors\(/, file)
  })
})
